/* text/markup.h - how a model writes reasoning and tool calls into its text: as data, one row a markup.
 * SPDX-License-Identifier: Apache-2.0
 * A markup is a set of literals and two small patterns. The same row drives the streaming parser (text/reply.h), the
 * pieces of a grammar for constrained calls, and the check of what a template was found to do (fh_markup_probe).
 *
 * Patterns are literals with holes. A newline stands for any white space or none; %% is a percent sign.
 *   call:  %n name  %i id  %I id that holds the name (functions.NAME:0)  %x number, ignored
 *          %a arguments as a JSON object   %j the whole call as a JSON object with key_name, key_args, key_id
 *          %p parameters, each as `param` says   %y Python keyword arguments   %g {key:value}, strings in `quote`
 *   param: %k key   %t type: true or false (is it a string), or a JSON type   %v value   (%k again: the same key)
 * A string that is NULL or empty stands for none. */
#ifndef FH_TEXT_MARKUP_H
#define FH_TEXT_MARKUP_H

#include "base/json.h"
#include "text/template.h"

#define FH_MARKUP_LIST 6

enum {
    FH_MARKUP_SINGLE = 1,      /* the model was taught one call a reply; more are understood all the same */
    FH_MARKUP_LISTED = 2,      /* %j calls stand in a JSON list */
    FH_MARKUP_NAME_KEY = 4,    /* %j is {NAME: {arguments}} */
    FH_MARKUP_TREE = 8,        /* parameters inside parameters; `item` for the elements of a list */
    FH_MARKUP_CALL_FIRST = 16, /* a call's opening ends reasoning that was left open */
    FH_MARKUP_TYPE_NAMES = 32  /* %t is a JSON type, not true or false */
};

typedef struct fh_markup {
    const char *name;
    /* What a template's source holds when it speaks this markup; all of it. */
    const char *needle[3];
    const char *think_open, *think_close;
    /* Channels: a header between head_open and head_close says what its body is. */
    const char *head_open[2], *head_close, *body_close[3];
    const char *head_think, *head_text; /* words of the header */
    const char *head_call;              /* what stands before the name of the function; "%n": the header is the name */
    const char *head_make;              /* a header for a call, with %n: what a grammar asks for */
    const char *section_open, *section_close;
    const char *bare; /* a reply that begins with this is a section without its opening: "{" or "[" */
    const char *call, *separator;
    const char *param;
    const char *key_name, *key_args, *key_id;
    const char *name_prefix; /* taken off names: "functions." */
    const char *quote;
    const char *drop[FH_MARKUP_LIST]; /* says nothing: frames around the answer */
    const char *end[FH_MARKUP_LIST];  /* ends of turn, dropped at the end of a reply */
    uint32_t flags;
} fh_markup;

/* ---- the table ---- */
size_t fh_markup_n_known(void);
const fh_markup *fh_markup_known(size_t i);
const fh_markup *fh_markup_find(fh_str name); /* NULL when there is none */
/* The first row all of whose needles are in the template's source; the row "plain" when there is no such row. */
const fh_markup *fh_markup_detect(fh_str template_source);

/* Where the text begins that a model writes behind this prompt. */
typedef enum fh_markup_start { FH_START_TEXT, FH_START_REASONING, FH_START_HEADER } fh_markup_start;
fh_markup_start fh_markup_start_after(const fh_markup *m, fh_str prompt);
/* Behind what was written so far, is what follows the answer itself? Reasoning and headers come before it. */
bool fh_markup_answer_begins(const fh_markup *m, fh_markup_start start, fh_str written);
/* What a model writes between its reasoning and its answer, for who ends the reasoning in its place: the mark that
 * closes it, or the end of its channel and the header of the answer's. Nothing where the markup has no reasoning. */
void fh_markup_put_think_end(const fh_markup *m, fh_buf *out);

/* ---- read from the template itself ---- */
typedef struct fh_markup_found {
    fh_markup markup; /* strings live in the arena, or in the table */
    fh_arena arena;
    bool reasoning;       /* think_open and think_close were seen in rendered text */
    bool calls;           /* call, section and param were, and reading them back gave the calls of the probe */
    const fh_markup *row; /* what the table says about this template */
    char differs[160];    /* first field in which what was found and the row cannot both be right, or "" */
} fh_markup_found;

/* Renders small conversations and reads the delimiters off them. What the template does not show is taken from the
 * table. Fails for lack of memory only; a template that refuses every probe gives the row alone. */
FH_MUST_USE fh_status fh_markup_probe(fh_markup_found *out, const fh_template *t, fh_str bos, fh_str eos, fh_err *err);
void fh_markup_found_release(fh_markup_found *f);
/* Both read the same texts in the same way: literals equal but for white space, same keys. */
bool fh_markup_same_calls(const fh_markup *a, const fh_markup *b, const char **field);

/* ---- constrained calls ---- */
typedef enum fh_piece_kind {
    FH_PIECE_LITERAL, /* text, as it stands */
    FH_PIECE_SPACE,   /* white space or none */
    FH_PIECE_SCHEMA,  /* a JSON value under schema; schema NULL: any object */
    FH_PIECE_ANSWER,  /* the same, of the rule's answer; a schema may allow any kind of value */
    FH_PIECE_STRING,  /* text of a value under schema (NULL: any) that does not hold `text` */
    FH_PIECE_PYTHON,  /* a Python literal for schema */
    FH_PIECE_QUOTED,  /* a value under schema in %g notation, its strings in `text` */
    FH_PIECE_TEXT,    /* any text that does not hold `text`: an answer, reasoning */
    FH_PIECE_ID,      /* letters and digits, 1 to 64; also _ - */
    FH_PIECE_NUMBER,  /* digits */
    FH_PIECE_ANY,     /* opens a group: one of the branches, which FH_PIECE_OR parts */
    FH_PIECE_OR,
    FH_PIECE_MANY,  /* opens a group: 1 or more times, `text` between */
    FH_PIECE_MAYBE, /* opens a group: once or not */
    FH_PIECE_CLOSE  /* ends the innermost group */
} fh_piece_kind;

typedef struct fh_piece {
    fh_piece_kind kind;
    fh_str text;
    const fh_json_node *schema; /* in the caller's tools */
} fh_piece;

typedef enum fh_call_choice { FH_CALL_AUTO, FH_CALL_NONE, FH_CALL_REQUIRED, FH_CALL_NAMED } fh_call_choice;

typedef struct fh_call_rule {
    const fh_json_node *tools; /* array as in OpenAI's API: {type, function{name, parameters}}, or the inner objects */
    fh_call_choice choice;
    fh_str name;                /* NAMED */
    bool parallel;              /* several calls */
    const fh_json_node *answer; /* AUTO: schema that the answer holds to where no tool is called; NULL: any text */
    bool answer_object;         /* AUTO: likewise, any JSON object */
} fh_call_rule;

typedef struct fh_pieces {
    fh_arena arena; /* texts */
    fh_piece *list; /* [n] in the arena */
    size_t n, cap;
} fh_pieces;

/* The texts that a reply under these rules may be, in order, from the first section's opening to the last one's close.
 * AUTO: an answer before it and everything optional, or, where the answer has a format, either calls or the answer.
 * Parameters stand in the order of the schema, required ones always.
 * NONE and tools without names give FH_ERR_USAGE; a name that is not there FH_ERR_NOT_FOUND. */
FH_MUST_USE fh_status fh_markup_pieces(fh_pieces *out, const fh_markup *m, const fh_call_rule *rule, fh_err *err);
void fh_pieces_release(fh_pieces *p);

#endif
