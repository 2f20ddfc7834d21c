/* cli/model_options.c - opening a model as the shared options say.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli/model_options.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/num.h"

/* ---- options ---- */

static fh_status set_kv_type(fh_engine_options *e, const fh_model_options *o, fh_err *err) {
    e->kv_type = o->exact ? FH_DTYPE_F32 : FH_DTYPE_F16;
    if (!o->kv_type || fh_engine_kv_type(fh_str_of(o->kv_type), &e->kv_type)) return FH_OK;
    return fh_fail(err, FH_ERR_USAGE, "--kv-type '%.60s' is unknown; there are " FH_KV_TYPES, o->kv_type);
}

static fh_status narrow(uint32_t *out, uint64_t v, uint64_t most, const char *what, fh_err *err) {
    if (v > most)
        return fh_fail(err, FH_ERR_USAGE, "%s %llu is more than %llu", what, (unsigned long long)v,
                       (unsigned long long)most);
    *out = (uint32_t)v;
    return FH_OK;
}

fh_status fh_model_options_engine(fh_engine_options *out, const fh_model_options *o, fh_err *err) {
    fh_engine_options e = {.exact = o->exact};
    uint32_t threads = 0;
    FH_TRY(narrow(&threads, o->threads, 1024, "--threads", err));
    FH_TRY(narrow(&e.page, o->page, 64, "--page", err));
    FH_TRY(narrow(&e.batch, o->batch, 1u << 20, "--batch", err));
    FH_TRY(set_kv_type(&e, o, err));
    if (o->ctx > UINT32_MAX) return fh_fail(err, FH_ERR_USAGE, "--ctx is too large");
    e.threads = (int)threads;
    *out = e;
    return FH_OK;
}

fh_status fh_cli_parse_ids(fh_ids *out, const char *text, const char *what, fh_err *err) {
    static const char blanks[] = " ,\t\n\r";
    for (const char *at = text + strspn(text, blanks); *at; at += strspn(at, blanks)) {
        fh_str word = {at, strcspn(at, blanks)};
        uint64_t id;
        if (!fh_str_u64(word, &id) || id >= UINT32_MAX)
            return fh_fail(err, FH_ERR_USAGE, "%s wants token ids, not '%.*s'", what, FH_STR_ARG(word));
        fh_ids_add(out, (uint32_t)id);
        at += word.len;
    }
    return fh_ids_check(out, err);
}

/* ---- a model ---- */

fh_status fh_opened_load(fh_opened *out, const fh_cli *cli, const char *model, const fh_model_options *o, fh_err *err) {
    fh_bundle *bundle = NULL;
    uint64_t start = fh_clock_ns();
    fh_opened x = {.cli = cli};
    if (o->cpu_level) FH_TRY(fh_cpu_limit(fh_str_of(o->cpu_level), err));
    FH_TRY(fh_locate(&x.at, model, err));
    FH_TRY(fh_location_open(&bundle, &x.at, err));
    bool placeholder = fh_builtin_is_placeholder(bundle);
    FH_TRY(fh_model_load(&x.model, bundle, err));
    x.load_ns = fh_clock_ns() - start;
    if (placeholder)
        fprintf(cli->err, "freehold: there is no default model yet: this is a tiny one with random weights that the "
                          "build made, and what it says means nothing.\n");
    for (size_t i = 0; i < fh_model_n_note(x.model); i++)
        fprintf(cli->err, "freehold: note: %s\n", fh_model_note(x.model, i));
    *out = x;
    return FH_OK;
}

/* "DIR" or "DIR:0.5"; a path that is there counts as a whole. */
static fh_status split_scale(char path[FH_PATH_MAX], float *scale, const char *text, fh_err *err) {
    const char *colon = strrchr(text, ':');
    double number;
    *scale = 1;
    fh_str whole = fh_str_of(text);
    if (colon && fh_file_get_kind(text) == FH_FILE_NONE && fh_cli_number(fh_str_of(colon + 1), &number)) {
        whole.len = (size_t)(colon - text);
        *scale = (float)number;
    }
    return fh_str_copy(path, FH_PATH_MAX, whole) ? FH_OK : fh_fail(err, FH_ERR_LIMIT, "the adapter's path is too long");
}

static fh_status open_adapters(fh_opened *x, const fh_cli_list *list, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_adapter_use use[FH_CLI_LIST_MOST];
    x->adapter = fh_alloc_zero(list->n, sizeof(fh_adapter *));
    if (!x->adapter) return fh_fail_memory(err, list->n * sizeof(fh_adapter *));
    for (; x->n_adapter < list->n; x->n_adapter++) {
        fh_adapter_use *u = &use[x->n_adapter];
        FH_TRY(split_scale(path, &u->scale, list->item[x->n_adapter], err));
        FH_TRY(fh_adapter_open(&x->adapter[x->n_adapter], path, err));
        u->adapter = x->adapter[x->n_adapter];
    }
    return fh_adaption_new(&x->adaption, x->model, use, list->n, err);
}

const fh_adapter_set *fh_opened_adapters(const fh_opened *x) {
    return x->adaption ? fh_adaption_set(x->adaption) : NULL;
}

fh_status fh_opened_start(fh_opened *x, const fh_model_options *o, uint32_t rows, bool keep, fh_err *err) {
    fh_engine_options e;
    uint64_t start = fh_clock_ns();
    FH_TRY(fh_model_options_engine(&e, o, err));
    e.rows = rows;
    e.keep_values = keep;
    e.no_prefix_cache = keep || o->no_prefix_cache; /* what is looked at is computed in one go */
    if (o->adapters.n) FH_TRY(open_adapters(x, &o->adapters, err));
    FH_TRY(fh_engine_new(&x->engine, x->model, &e, err));
    x->load_ns += fh_clock_ns() - start;
    uint32_t made_for = fh_model_spec(x->model)->n_context;
    if (made_for && o->ctx > made_for)
        fprintf(x->cli->err,
                "freehold: note: the model was made for %u tokens of context; beyond them its answers may "
                "make no sense\n",
                made_for);
    return FH_OK;
}

void fh_opened_close(fh_opened *x) {
    fh_engine_free(x->engine);
    fh_adaption_free(x->adaption);
    for (size_t i = 0; i < x->n_adapter; i++) fh_adapter_close(x->adapter[i]);
    fh_free(x->adapter);
    fh_model_free(x->model);
    *x = (fh_opened){.cli = x->cli};
}

fh_status fh_opened_session(fh_session **out, const fh_opened *x, const fh_model_options *o, fh_err *err) {
    return fh_session_new(out, x->engine, (uint32_t)o->ctx, fh_opened_adapters(x), 0, err);
}
