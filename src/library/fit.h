/* library/fit.h - will a model run on a machine: memory, speed, and what would have to change; before a download.
 * SPDX-License-Identifier: Apache-2.0
 * A shape is what a model needs memory for: tensors and state, without any data. It comes from files on this machine
 * (their headers alone are read), from a config.json alone, or from the built-in catalogue. Memory follows by counting,
 * speed from a roofline (docs/fit.md); what is not known is said to be unknown, never guessed. Nothing is fetched. */
#ifndef FH_LIBRARY_FIT_H
#define FH_LIBRARY_FIT_H

#include "base/mem.h"
#include "forge/mix.h"
#include "library/catalogue.h"
#include "tensor/tensor.h"

typedef enum fh_fit_source { FH_FIT_FROM_FILES, FH_FIT_FROM_CONFIG, FH_FIT_FROM_CATALOGUE } fh_fit_source;

typedef enum fh_fit_kind {
    FH_FIT_FULL,      /* a row of keys and one of values per token */
    FH_FIT_SLIDING,   /* the same, of the last `window` tokens */
    FH_FIT_LATENT,    /* one row per token */
    FH_FIT_CROSS,     /* of the encoder's tokens */
    FH_FIT_RECURRENT, /* the same size whatever the length */
    FH_FIT_KINDS
} fh_fit_kind;
const char *fh_fit_kind_name(fh_fit_kind k); /* "sliding" */

/* Layers whose state is alike. */
typedef struct fh_fit_part {
    fh_fit_kind kind;
    bool of_encoder; /* given back when the encoder is done */
    uint32_t n_layer, heads, k_width, v_width, window;
    uint64_t floats; /* RECURRENT: of one layer */
} fh_fit_part;

#define FH_FIT_MOST_PARTS 32

typedef struct fh_fit_shape {
    fh_arena arena;
    fh_fit_source source;
    fh_str name, architecture;
    const fh_catalogue_row *row; /* or NULL */
    uint64_t n_layer, n_embd, n_head, k_width, n_vocab, n_context, n_expert, n_used, n_ff;
    uint64_t n_value, n_active; /* parameters; 0: unknown */
    uint64_t n_expert_value;    /* of these in routed experts */
    uint64_t n_table;           /* of these in a table of tokens that is not the head's too */
    bool counted;               /* tensor by tensor; else the publisher's rounded figure */
    bool has_vision;            /* a part for pictures or sound, not counted where there are no files */
    uint64_t stored_bytes;      /* weights as published; 0: unknown */
    fh_str stored_type;         /* "BF16", "mxfp4" */
    fh_fit_part part[FH_FIT_MOST_PARTS];
    size_t n_part;
    bool state_known, whole; /* whole: a sequence comes in one batch */
    fh_tensor *tensor;       /* [n_tensor] names as in GGUF, shapes, no data; NULL: unknown */
    size_t n_tensor;
    fh_mix_model mix;
    uint64_t scratch;     /* for one step, FH_FIT_BATCH tokens; 0: unknown */
    bool scratch_planned; /* by the plan, without what each thread adds; else an estimate */
} fh_fit_shape;

#define FH_FIT_BATCH 512u
#define FH_FIT_PAGE 32u

/* model: what library/locate.h finds, a folder or config.json without weights, or a name of the catalogue. */
FH_MUST_USE fh_status fh_fit_open(fh_fit_shape *out, const char *model, fh_err *err);
FH_MUST_USE fh_status fh_fit_open_row(fh_fit_shape *out, const fh_catalogue_row *row, fh_err *err);
FH_MUST_USE fh_status fh_fit_open_config(fh_fit_shape *out, fh_str json, fh_str name, fh_err *err);
void fh_fit_release(fh_fit_shape *s);

/* ---- memory ---- */
typedef struct fh_fit_state {
    uint64_t per_token; /* bytes that every token adds */
    uint64_t window;    /* bytes of full windows */
    uint64_t recurrent;
    uint64_t formula; /* per_token * n + windows as far as n fills them + recurrent */
    uint64_t paged;   /* what this program allocates: whole pages, and a batch beside each window */
    bool fell_back;   /* some rows are f16: the type's block does not divide them */
} fh_fit_state;
/* Of one sequence of n tokens; false: unknown. Encoder-decoder: n tokens in and n out. */
bool fh_fit_get_state(const fh_fit_shape *s, uint64_t n, fh_dtype kv_type, fh_fit_state *out);

/* One way to store the weights, and what it costs in quality: measured on one model, see `measured_on`. */
typedef struct fh_fit_quant {
    const char *name;
    bool stored; /* as published, whatever that is */
    fh_mix mix;
    double bits;       /* of a file of 8 billion parameters; 0: stored */
    double perplexity; /* ratio to 16 bits; 0: unknown */
    double kld;        /* mean, nats a token */
} fh_fit_quant;
const fh_fit_quant *fh_fit_quants(size_t *n); /* largest first; the first is `stored` */
#define FH_FIT_USUAL 4u                       /* the place of Q4_K_M */
extern const char fh_fit_measured_on[];
/* exact: by the rules that `freehold quantize` follows; else by the bits of a typical file. false: unknown. */
bool fh_fit_weight_bytes(const fh_fit_shape *s, const fh_fit_quant *q, uint64_t *bytes, bool *exact);

/* ---- machines ---- */
typedef struct fh_fit_device {
    char name[80];
    uint32_t n;             /* of them */
    bool gpu, here;         /* here: this machine, measured */
    uint64_t memory_bytes;  /* of all of them that a model may take */
    double read;            /* bytes per second, of one */
    double flops;           /* multiplications and additions per second on the type that products use, of one */
    double e_read, e_flops; /* shares of these that are reached */
    const char *checked_on; /* day of the figures; "" for here */
} fh_fit_device;

/* "2x A100-80", "rtx 4090": any letters and blanks. FH_ERR_NOT_FOUND names the list. */
FH_MUST_USE fh_status fh_fit_device_find(fh_fit_device *out, fh_str text, fh_err *err);
bool fh_fit_device_at(size_t i, fh_fit_device *out); /* false behind the last */

typedef struct fh_fit_ask {
    uint64_t context, slots; /* tokens of a sequence, sequences at once */
    fh_dtype kv_type;
} fh_fit_ask;

typedef struct fh_fit_answer {
    const fh_fit_quant *quant;
    bool known, fits, weights_exact, state_known;
    uint64_t weights, state, scratch, overhead, need; /* bytes; state of all slots */
    uint64_t most_context;                            /* that fits with so many slots; 0: none */
    double decode, prefill;                           /* tokens per second, one sequence at that context; 0: unknown */
    double decode_all;                                /* with all slots at once */
    bool decode_by_memory;                            /* else arithmetic bounds it */
} fh_fit_answer;
fh_fit_answer fh_fit_judge(const fh_fit_shape *s, const fh_fit_device *d, const fh_fit_ask *ask, const fh_fit_quant *q);
/* The first of the list that fits, or NULL; answers: [n of fh_fit_quants]. */
const fh_fit_quant *fh_fit_best(const fh_fit_shape *s, const fh_fit_device *d, const fh_fit_ask *ask,
                                fh_fit_answer *answers);

#endif
