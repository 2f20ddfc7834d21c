/* format/hf_config.h - config.json of a Hugging Face folder, checked.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the JSON tree and all lists; what it hands out is borrowed and immutable.
 * Hostile input: every known field (hf_config.def) is range-checked when the config is parsed,
 * whether anybody asks for it or not; Infinity and NaN are read as Python writes them, duplicate
 * keys as Python reads them (the last one wins).
 * A model with several parts keeps its text model in text_config, llm_config ...: that part is
 * asked first, the root next. */
#ifndef FH_FORMAT_HF_CONFIG_H
#define FH_FORMAT_HF_CONFIG_H

#include "format/hf_rope.h"

#define FH_HF_MAX_LAYER 4096

typedef enum fh_hf_field {
#define FH_HF_ROW(name, kind, least, most, spellings) FH_HF_##name,
#include "format/hf_config.def"
#undef FH_HF_ROW
    FH_HF_FIELD_COUNT
} fh_hf_field;

typedef enum fh_hf_kind { FH_HF_INT, FH_HF_INTS, FH_HF_INT_OR_STR, FH_HF_FLOAT, FH_HF_BOOL, FH_HF_STR } fh_hf_kind;

typedef struct fh_hf_value {
    fh_hf_state state;
    fh_hf_kind kind; /* of the row; INT_OR_STR: str.ptr tells which */
    bool is_list;
    uint32_t n; /* elements of list */
    const uint32_t *list;
    uint64_t u64;
    double f64;
    bool flag;
    fh_str str;
} fh_hf_value;

typedef struct fh_hf_config fh_hf_config;

FH_MUST_USE fh_status fh_hf_config_parse(fh_hf_config **out, fh_str json, fh_err *err);
void fh_hf_config_free(fh_hf_config *c); /* NULL is fine */

size_t fh_hf_config_n_architecture(const fh_hf_config *c);
fh_str fh_hf_config_architecture(const fh_hf_config *c, size_t i);
fh_str fh_hf_config_model_type(const fh_hf_config *c);      /* of the root; "" when absent */
fh_str fh_hf_config_text_model_type(const fh_hf_config *c); /* of the text part, or of the root */

const fh_hf_value *fh_hf_config_get(const fh_hf_config *c, fh_hf_field f);
/* True when present and one number (flag, text); *out untouched otherwise. */
bool fh_hf_config_u64(const fh_hf_config *c, fh_hf_field f, uint64_t *out);
bool fh_hf_config_f64(const fh_hf_config *c, fh_hf_field f, double *out);
bool fh_hf_config_bool(const fh_hf_config *c, fh_hf_field f, bool *out);
bool fh_hf_config_str(const fh_hf_config *c, fh_hf_field f, fh_str *out);
/* As u64, and from a list element i; false behind its end. */
bool fh_hf_config_u64_at(const fh_hf_config *c, fh_hf_field f, size_t i, uint64_t *out);
const char *fh_hf_field_spellings(fh_hf_field f);

size_t fh_hf_config_n_layer_type(const fh_hf_config *c); /* 0 when absent, else the number of layers or more */
fh_str fh_hf_config_layer_type(const fh_hf_config *c, size_t i);
const fh_hf_ropes *fh_hf_config_ropes(const fh_hf_config *c);
const fh_hf_ids *fh_hf_config_bos(const fh_hf_config *c);
const fh_hf_ids *fh_hf_config_eos(const fh_hf_config *c);
const fh_hf_ids *fh_hf_config_pad(const fh_hf_config *c);
const fh_hf_ids *fh_hf_config_decoder_start(const fh_hf_config *c);
const fh_json_node *fh_hf_config_quantization(const fh_hf_config *c); /* object, or NULL */

/* For what no row covers: the parts in the order they are asked, and the root alone. */
const fh_hf_view *fh_hf_config_view(const fh_hf_config *c);
const fh_json_node *fh_hf_config_root(const fh_hf_config *c);

#endif
