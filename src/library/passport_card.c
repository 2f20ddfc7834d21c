/* library/passport_card.c - what a model card and the names of the files around it state.
 * SPDX-License-Identifier: Apache-2.0
 * Of the front matter: top-level keys with a plain scalar or a plain list, anything else is left unknown. Of the text:
 * which sections there are, and how long; a section of a few words (a template left empty) states nothing. Of the
 * folder: files whose names say what they are. */
#include <ctype.h>
#include <stdio.h>

#include "base/file.h"
#include "base/num.h"
#include "library/passport_part.h"

#define CARD_BYTES ((size_t)4 << 20)
#define LEAST_WORDS 12u
#define LEAST_CARD_WORDS 40u

typedef struct field {
    const char *name;
    fh_passport_key key;
} field;
static const field fields[] = {
    {"datasets", FH_PASSPORT_KEY_DATA_SOURCES},  {"language", FH_PASSPORT_KEY_LANGUAGES},
    {"pipeline_tag", FH_PASSPORT_KEY_MODALITY},  {"co2_eq_emissions", FH_PASSPORT_KEY_ENERGY},
    {"model_name", FH_PASSPORT_KEY_NAME},        {"quantized_by", FH_PASSPORT_KEY_QUANTIZED_BY},
    {"model_creator", FH_PASSPORT_KEY_PUBLISHER}};

/* A heading that holds one of these words speaks of that fact. Order matters: the first that fits. */
static const field sections[] = {{"data card", FH_PASSPORT_KEY_DATA_CARD},
                                 {"datasheet", FH_PASSPORT_KEY_DATA_CARD},
                                 {"training data", FH_PASSPORT_KEY_DATA_SOURCES},
                                 {"pretraining data", FH_PASSPORT_KEY_DATA_SOURCES},
                                 {"training dataset", FH_PASSPORT_KEY_DATA_SOURCES},
                                 {"preprocess", FH_PASSPORT_KEY_FILTERING},
                                 {"filtering", FH_PASSPORT_KEY_FILTERING},
                                 {"personal", FH_PASSPORT_KEY_PERSONAL_DATA},
                                 {"privacy", FH_PASSPORT_KEY_PERSONAL_DATA},
                                 {"opt-out", FH_PASSPORT_KEY_OPT_OUT},
                                 {"emission", FH_PASSPORT_KEY_ENERGY},
                                 {"environmental", FH_PASSPORT_KEY_ENERGY},
                                 {"carbon", FH_PASSPORT_KEY_ENERGY},
                                 {"compute", FH_PASSPORT_KEY_COMPUTE},
                                 {"training hardware", FH_PASSPORT_KEY_COMPUTE},
                                 {"hyperparameter", FH_PASSPORT_KEY_CONFIGS},
                                 {"training procedure", FH_PASSPORT_KEY_POST_TRAINING},
                                 {"post-training", FH_PASSPORT_KEY_POST_TRAINING},
                                 {"fine-tuning", FH_PASSPORT_KEY_POST_TRAINING},
                                 {"evaluation", FH_PASSPORT_KEY_EVALUATION},
                                 {"benchmark", FH_PASSPORT_KEY_EVALUATION},
                                 {"limitation", FH_PASSPORT_KEY_LIMITS},
                                 {"bias", FH_PASSPORT_KEY_LIMITS},
                                 {"out-of-scope", FH_PASSPORT_KEY_LIMITS},
                                 {"risk", FH_PASSPORT_KEY_RISKS},
                                 {"safety", FH_PASSPORT_KEY_RISKS},
                                 {"ethical", FH_PASSPORT_KEY_RISKS},
                                 {"refusal", FH_PASSPORT_KEY_REFUSALS},
                                 {"intended use", FH_PASSPORT_KEY_USES},
                                 {"uses", FH_PASSPORT_KEY_USES},
                                 {"contact", FH_PASSPORT_KEY_CONTACT}};

/* Names of files; "*" at the end: whatever follows. */
static const field names[] = {{"DATA_CARD*", FH_PASSPORT_KEY_DATA_CARD},
                              {"DATACARD*", FH_PASSPORT_KEY_DATA_CARD},
                              {"DATASHEET*", FH_PASSPORT_KEY_DATA_CARD},
                              {"train.*", FH_PASSPORT_KEY_TRAINING_CODE},
                              {"train_*", FH_PASSPORT_KEY_TRAINING_CODE},
                              {"preprocess*", FH_PASSPORT_KEY_PREPARING_CODE},
                              {"prepare_data*", FH_PASSPORT_KEY_PREPARING_CODE},
                              {"evaluate.*", FH_PASSPORT_KEY_EVALUATION_CODE},
                              {"eval.*", FH_PASSPORT_KEY_EVALUATION_CODE},
                              {"training_args.json", FH_PASSPORT_KEY_CONFIGS},
                              {"recipe*", FH_PASSPORT_KEY_CONFIGS},
                              {"trainer_state.json", FH_PASSPORT_KEY_LOGS},
                              {"trainer_log*", FH_PASSPORT_KEY_LOGS},
                              {"training.log", FH_PASSPORT_KEY_LOGS},
                              {"checkpoint-*", FH_PASSPORT_KEY_CHECKPOINTS},
                              {"modeling_*", FH_PASSPORT_KEY_REFERENCE},
                              {"eval_results.json", FH_PASSPORT_KEY_EVALUATION},
                              {"model.sig", FH_PASSPORT_KEY_SIGNATURE},
                              {"SECURITY.md", FH_PASSPORT_KEY_CONTACT}};

static fh_str trim(fh_str s) {
    while (s.len && isspace((unsigned char)s.ptr[0])) s = fh_str_drop(s, 1);
    while (s.len && isspace((unsigned char)s.ptr[s.len - 1])) s.len--;
    return s;
}

static fh_str next_line(fh_str *rest) {
    size_t at = rest->len;
    bool found = fh_str_find(*rest, '\n', &at);
    fh_str line = fh_str_first(*rest, at);
    *rest = fh_str_drop(*rest, found ? at + 1 : at);
    if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
    return line;
}

static size_t count_words(fh_str s) {
    size_t n = 0;
    bool in = false;
    for (size_t i = 0; i < s.len; i++) {
        bool word = isalnum((unsigned char)s.ptr[i]);
        n += word && !in;
        in = word || (in && !isspace((unsigned char)s.ptr[i]));
    }
    return n;
}

static bool holds_word(fh_str heading, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= heading.len; i++) {
        size_t k = 0;
        while (k < n && tolower((unsigned char)heading.ptr[i + k]) == word[k]) k++;
        if (k == n && (i == 0 || !isalpha((unsigned char)heading.ptr[i - 1]))) return true;
    }
    return false;
}

/* A plain scalar, quotes off; empty for anything else. */
static fh_str plain(fh_str s) {
    s = trim(s);
    if (s.len > 1 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0])
        s = (fh_str){s.ptr + 1, s.len - 2};
    for (size_t i = 0; i < s.len; i++)
        if (strchr("{}[]&*!|>%@`#\\\"'", s.ptr[i]) || (unsigned char)s.ptr[i] < 0x20) return (fh_str){NULL, 0};
    return s.len > 200 ? (fh_str){NULL, 0} : s;
}

/* Items of "[a, b]" or of the lines behind the key, joined; empty when one of them is not plain. */
static void read_items(fh_str inline_value, fh_str rest, char *out, size_t size) {
    size_t used = 0;
    fh_str v = trim(inline_value);
    out[0] = '\0';
    if (v.len > 1 && v.ptr[0] == '[' && v.ptr[v.len - 1] == ']') {
        v = (fh_str){v.ptr + 1, v.len - 2};
        while (v.len && used < size) {
            size_t cut = v.len;
            (void)fh_str_find(v, ',', &cut);
            fh_str item = plain(fh_str_first(v, cut));
            if (item.len)
                used += (size_t)snprintf(out + used, size - used, "%s%.*s", used ? ", " : "", FH_STR_ARG(item));
            v = fh_str_drop(v, cut + 1);
        }
        return;
    }
    if (v.len) {
        fh_str item = plain(v);
        snprintf(out, size, "%.*s", FH_STR_ARG(item));
        return;
    }
    while (rest.len && used < size) {
        fh_str line = trim(next_line(&rest));
        if (!line.len) continue;
        if (line.ptr[0] != '-' || line.len < 3 || line.ptr[1] != ' ') return;
        fh_str item = plain(fh_str_drop(line, 2));
        if (!item.len) {
            out[0] = '\0';
            return;
        }
        used += (size_t)snprintf(out + used, size - used, "%s%.*s", used ? ", " : "", FH_STR_ARG(item));
    }
}

/* Reads the lines between the two "---" and leaves the rest. */
static fh_status read_front(fh_passport *p, fh_str *text, const char *sha256, fh_err *err) {
    fh_str rest = *text, start = *text;
    if (!fh_str_is(trim(next_line(&rest)), "---")) {
        *text = start;
        return FH_OK;
    }
    while (rest.len) {
        fh_str line = next_line(&rest);
        char value[400];
        size_t colon;
        if (fh_str_is(trim(line), "---")) {
            *text = rest;
            return FH_OK;
        }
        if (!line.len || !isalpha((unsigned char)line.ptr[0]) || !fh_str_find(line, ':', &colon)) continue;
        for (size_t i = 0; i < FH_COUNT(fields); i++) {
            if (!fh_str_is(fh_str_first(line, colon), fields[i].name)) continue;
            read_items(fh_str_drop(line, colon + 1), rest, value, sizeof value);
            if (value[0])
                FH_TRY(fh_passport_say(p, fields[i].key, FH_PASSPORT_BY_PUBLISHER, "README.md, front matter", sha256,
                                       err, "%s", value));
        }
        if (fh_str_is(fh_str_first(line, colon), "model-index"))
            FH_TRY(fh_passport_say(p, FH_PASSPORT_KEY_EVALUATION, FH_PASSPORT_BY_PUBLISHER, "README.md, model-index",
                                   sha256, err, "results are listed"));
    }
    *text = start; /* no end: no front matter */
    return FH_OK;
}

static fh_status take_section(fh_passport *p, fh_str heading, fh_str body, const char *sha256, fh_err *err) {
    char source[160];
    size_t words = count_words(body);
    if (words < LEAST_WORDS || holds_word(body, "more information needed")) return FH_OK;
    for (size_t i = 0; i < FH_COUNT(sections); i++) {
        if (!holds_word(heading, sections[i].name)) continue;
        if (p->fact[sections[i].key].state == FH_PASSPORT_STATED) return FH_OK;
        snprintf(source, sizeof source, "README.md, section '%.*s'", (int)FH_MIN(heading.len, (size_t)100),
                 heading.ptr);
        return fh_passport_say(p, sections[i].key, FH_PASSPORT_BY_PUBLISHER, source, sha256, err,
                               "described, %zu words", words);
    }
    return FH_OK;
}

/* The first link of that kind in the card. */
static fh_status take_link(fh_passport *p, fh_str text, const char *prefix, fh_passport_key key, const char *sha256,
                           fh_err *err) {
    size_t n = strlen(prefix);
    if (p->fact[key].state == FH_PASSPORT_STATED) return FH_OK;
    for (size_t i = 0; i + n < text.len; i++) {
        if (memcmp(text.ptr + i, prefix, n) != 0) continue;
        size_t end = i + n;
        while (end < text.len && (isalnum((unsigned char)text.ptr[end]) || strchr("./_-:", text.ptr[end]))) end++;
        while (end > i && strchr(".:-", text.ptr[end - 1])) end--;
        if (end - i == n || end - i > 200) continue;
        return fh_passport_say(p, key, FH_PASSPORT_BY_PUBLISHER, "README.md, a link", sha256, err, "%.*s",
                               (int)(end - i), text.ptr + i);
    }
    return FH_OK;
}

static fh_status read_text(fh_passport *p, fh_str text, const char *sha256, fh_err *err) {
    fh_str rest = text, heading = {NULL, 0}, body = {NULL, 0};
    bool fence = false;
    FH_TRY(read_front(p, &rest, sha256, err));
    size_t words = count_words(rest);
    if (words >= LEAST_CARD_WORDS)
        FH_TRY(fh_passport_say(p, FH_PASSPORT_KEY_CARD, FH_PASSPORT_BY_PUBLISHER, "README.md", sha256, err,
                               "%zu words, sha256 %s", words, sha256));
    FH_TRY(take_link(p, rest, "https://arxiv.org/abs/", FH_PASSPORT_KEY_PAPER, sha256, err));
    FH_TRY(take_link(p, rest, "https://doi.org/", FH_PASSPORT_KEY_PAPER, sha256, err));
    FH_TRY(take_link(p, rest, "https://github.com/", FH_PASSPORT_KEY_REFERENCE, sha256, err));
    body = (fh_str){rest.ptr, 0};
    while (rest.len) {
        fh_str line = next_line(&rest);
        if (fh_str_starts(trim(line), "```")) fence = !fence;
        if (fence || !line.len || line.ptr[0] != '#') {
            if (rest.ptr) body.len = (size_t)(rest.ptr - body.ptr);
            continue;
        }
        FH_TRY(take_section(p, heading, body, sha256, err));
        heading = line;
        while (heading.len && heading.ptr[0] == '#') heading = fh_str_drop(heading, 1);
        heading = trim(heading);
        body = (fh_str){rest.ptr, 0};
    }
    return take_section(p, heading, body, sha256, err);
}

static bool name_is(fh_str name, const char *pattern) {
    size_t n = strlen(pattern);
    if (pattern[n - 1] != '*') return fh_str_is(name, pattern);
    return name.len >= n - 1 && memcmp(name.ptr, pattern, n - 1) == 0;
}

static fh_status read_names(fh_passport *p, const char *folder, fh_err *err) {
    fh_arena arena;
    fh_names all;
    fh_arena_init(&arena, 16u << 20);
    fh_status st = fh_dir_list(folder, &arena, &all, err);
    for (size_t i = 0; st == FH_OK && i < all.n; i++) {
        for (size_t k = 0; st == FH_OK && k < FH_COUNT(names); k++) {
            if (!name_is(all.item[i], names[k].name) || p->fact[names[k].key].state == FH_PASSPORT_STATED) continue;
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)FH_MIN(all.item[i].len, (size_t)100), all.item[i].ptr);
            bool sig = names[k].key == FH_PASSPORT_KEY_SIGNATURE;
            st = fh_passport_say(p, names[k].key, FH_PASSPORT_BY_PUBLISHER, name, NULL, err, "%s",
                                 sig ? "there is one; it was not checked" : name);
        }
    }
    fh_arena_release(&arena);
    if (st == FH_OK) fh_passport_deny(p, FH_PASSPORT_KEY_SIGNATURE, "the model's folder");
    return st;
}

fh_status fh_passport_read_folder(fh_passport *p, const char *folder, fh_err *err) {
    char path[FH_PATH_MAX], sha256[FH_SHA256_HEX];
    fh_buf text;
    FH_TRY(fh_path_join(path, folder, FH_STR("README.md"), err));
    if (fh_file_get_kind(path) == FH_FILE_REGULAR) {
        fh_buf_init(&text, CARD_BYTES);
        fh_status st = fh_file_read(path, &text, err);
        if (st == FH_OK) st = fh_sha256_of((fh_bytes){text.ptr, text.len}, sha256, err);
        if (st == FH_OK && fh_utf8_valid(fh_buf_str(&text))) st = read_text(p, fh_buf_str(&text), sha256, err);
        fh_buf_release(&text);
        if (st != FH_OK && st != FH_ERR_LIMIT) return st;
    } else {
        fh_passport_deny(p, FH_PASSPORT_KEY_CARD, "the model's folder");
    }
    return read_names(p, folder, err);
}
