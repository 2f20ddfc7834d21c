/* text/jinja_scope.c - which variable a name means, settled before anything runs.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: scopes go to the template's arena.
 * Jinja decides at compile time: a scope's variables are those that anything directly in it reads or stores, read
 * first or stored first makes a difference, and entering the scope gives each its value: from the arguments, from
 * the scope around, or none. Loop bodies enter anew for each element. The same is done here with slots, so that
 * lookups at run time are array accesses. Bodies of loops, macros, with and set blocks are scopes; if is not.
 * Invariant: after fh_jinja_resolve every name node has a slot, and every store at top level its export. */
#include "text/jinja_part.h"

typedef struct fn {
    struct fn *outer;
    uint32_t n_slot;
} fn;

typedef struct symbol {
    fh_str name;
    fh_jinit init;
    bool stored;
} symbol;

typedef struct symbols {
    struct symbols *parent;
    fn *f;
    symbol *item;
    uint32_t n, cap;
    uint32_t *log; /* [n_log] symbols in the order in which they were first stored to */
    uint32_t n_log, cap_log;
} symbols;

/* What is around a node. */
typedef struct place {
    symbols *s;
    bool top;     /* assignments here are seen by the whole template */
    bool soft;    /* under a condition: unknown filters fail when they run */
    bool in_loop; /* break and continue have a meaning */
    bool in_for;  /* nothing may be called `loop` */
} place;

typedef struct binder {
    fh_template *t;
    fh_err *err;
    uint64_t work; /* names compared */
} binder;

/* A few hundredths of a second. Published templates stay below 10^5. */
#define MAX_WORK ((uint64_t)20 * 1000 * 1000)

static fh_status no_memory(binder *b) { return fh_arena_fail(&b->t->arena, b->err); }

static fh_status grow(binder *b, void **array, uint32_t n, uint32_t *cap, size_t size) {
    if (n < *cap) return FH_OK;
    uint32_t more = *cap ? *cap * 2 : 8;
    void *p = fh_arena_alloc(&b->t->arena, more, size);
    if (!p) return no_memory(b);
    if (n) memcpy(p, *array, n * size);
    *array = p;
    *cap = more;
    return FH_OK;
}

/* asked: the arguments may supply it. */
static fh_status name_id(binder *b, fh_str name, bool asked, int32_t *id) {
    fh_template *t = b->t;
    uint32_t i = 0;
    b->work += t->n_name;
    if (b->work > MAX_WORK) return fh_fail(b->err, FH_ERR_LIMIT, "template: too many different names");
    while (i < t->n_name && !fh_str_eq(t->name[i].text, name)) i++;
    if (i == t->n_name) {
        void *names = t->name;
        FH_TRY(grow(b, &names, t->n_name, &t->cap_name, sizeof *t->name));
        t->name = names;
        t->name[t->n_name++] = (fh_jname){.text = name, .global = fh_jinja_func_find(name)};
    }
    t->name[i].asked = t->name[i].asked || asked;
    *id = (int32_t)i;
    return FH_OK;
}

/* ---- symbols of one scope ---- */

static symbol *own(binder *b, symbols *s, fh_str name) {
    b->work += s->n;
    for (uint32_t i = 0; i < s->n; i++)
        if (fh_str_eq(s->item[i].name, name)) return &s->item[i];
    return NULL;
}

static symbol *find(binder *b, symbols *s, fh_str name, symbols **where) {
    for (; s; s = s->parent) {
        symbol *y = own(b, s, name);
        if (y) {
            *where = s;
            return y;
        }
    }
    return NULL;
}

static uint16_t hops_between(const fn *from, const fn *to) {
    uint16_t n = 0;
    for (; from != to && from; from = from->outer) n++;
    return n;
}

static fh_status too_many_names(binder *b) {
    return fh_fail(b->err, FH_ERR_LIMIT, "template: too many different names");
}

static fh_status define(binder *b, symbols *s, fh_str name, symbol **out) {
    if (b->work > MAX_WORK) return too_many_names(b);
    void *items = s->item;
    FH_TRY(grow(b, &items, s->n, &s->cap, sizeof *s->item));
    s->item = items;
    symbol *y = *out = &s->item[s->n++];
    *y = (symbol){.name = name, .init = {.slot = (int32_t)s->f->n_slot++, .how = FH_J_LOAD_CLEAR}};
    return FH_OK;
}

/* On entry: the value around this scope, or else that of the arguments (clear: or else none). */
static fh_status set_load(binder *b, symbols *s, symbol *y, bool clear) {
    symbols *where;
    symbol *outer = s->parent ? find(b, s->parent, y->name, &where) : NULL;
    if (outer) {
        y->init.how = FH_J_LOAD_COPY;
        y->init.hops = hops_between(s->f, where->f);
        y->init.from = outer->init.slot;
        return FH_OK;
    }
    if (clear) return FH_OK;
    y->init.how = FH_J_LOAD_CTX;
    return name_id(b, y->name, true, &y->init.from);
}

static fh_status load(binder *b, symbols *s, fh_str name) {
    symbols *where;
    symbol *y = find(b, s, name, &where);
    if (y) return FH_OK;
    FH_TRY(define(b, s, name, &y));
    y->init.how = FH_J_LOAD_CTX;
    return name_id(b, name, true, &y->init.from);
}

static fh_status store(binder *b, symbols *s, fh_str name) {
    symbol *y = own(b, s, name);
    if (!y) {
        FH_TRY(define(b, s, name, &y));
        FH_TRY(set_load(b, s, y, true));
    }
    if (y->stored) return FH_OK;
    y->stored = true;
    void *log = s->log;
    FH_TRY(grow(b, &log, s->n_log, &s->cap_log, sizeof *s->log));
    s->log = log;
    s->log[s->n_log++] = (uint32_t)(y - s->item);
    return FH_OK;
}

static fh_status param(binder *b, symbols *s, fh_str name, int32_t *slot) {
    symbol *y = own(b, s, name);
    if (!y) FH_TRY(define(b, s, name, &y));
    y->stored = true;
    y->init.how = FH_J_LOAD_PARAM;
    if (slot) *slot = y->init.slot;
    return FH_OK;
}

/* Names in a loop's target. */
static fh_status params_of(binder *b, symbols *s, const fh_jnode *target) {
    if (target->op == FH_J_NAME) return param(b, s, target->text, NULL);
    for (uint32_t i = 0; i < target->list.n; i++) FH_TRY(params_of(b, s, target->list.item[i]));
    return FH_OK;
}

/* ---- collecting: what a scope's statements read and store, nested scopes left out ---- */

static fh_status collect(binder *b, symbols *s, const fh_jnode *n);

static fh_status collect_all(binder *b, symbols *s, const fh_jnodes *list) {
    for (uint32_t i = 0; i < list->n; i++) FH_TRY(collect(b, s, list->item[i]));
    return FH_OK;
}

static fh_status collect_if(binder *b, symbols *s, const fh_jnode *n) {
    FH_TRY(collect(b, s, n->a));
    uint32_t mark = s->n_log;
    FH_TRY(collect_all(b, s, &n->body));
    FH_TRY(collect_all(b, s, &n->list));
    FH_TRY(collect_all(b, s, &n->else_));
    /* Stored in a branch only: before that it is what it was outside. */
    for (uint32_t i = mark; i < s->n_log; i++) FH_TRY(set_load(b, s, &s->item[s->log[i]], false));
    return FH_OK;
}

static fh_status collect_args(binder *b, symbols *s, const fh_jcall *c) {
    if (!c) return FH_OK;
    for (uint32_t i = 0; i < c->n_pos; i++) FH_TRY(collect(b, s, c->pos[i]));
    for (uint32_t i = 0; i < c->n_kw; i++) FH_TRY(collect(b, s, c->kw[i]));
    FH_TRY(collect(b, s, c->star));
    return collect(b, s, c->star2);
}

static fh_status collect(binder *b, symbols *s, const fh_jnode *n) {
    if (!n) return FH_OK;
    switch ((fh_jop)n->op) {
    case FH_J_NAME: return n->sub ? store(b, s, n->text) : load(b, s, n->text);
    case FH_J_NS_ATTR: return load(b, s, n->a->text);
    case FH_J_IF: return collect_if(b, s, n);
    case FH_J_FOR: return collect(b, s, n->a);
    case FH_J_MACRO_DEF: return store(b, s, n->b->text);
    case FH_J_SET_BLOCK: return collect(b, s, n->b);
    case FH_J_FILTER_BLOCK:
    case FH_J_CALL_BLOCK: return collect(b, s, n->a);
    case FH_J_WITH:
        for (uint32_t i = 1; i < n->list.n; i += 2) FH_TRY(collect(b, s, n->list.item[i]));
        return FH_OK;
    case FH_J_SCOPE:
    case FH_J_BLOCK: return FH_OK;
    default: break;
    }
    FH_TRY(collect(b, s, n->a));
    FH_TRY(collect(b, s, n->b));
    FH_TRY(collect(b, s, n->c));
    FH_TRY(collect_all(b, s, &n->list));
    return collect_args(b, s, n->args);
}

/* Is the name read in here before anything stores to it? 1 = yes, 2 = it is stored first, 0 = not mentioned.
 * Looks into nested scopes too, as the reference does. */
static int mentions(const fh_jnode *n, const char *name);

static int mentions_any(const fh_jnodes *list, const char *name) {
    int m = 0;
    for (uint32_t i = 0; i < list->n && !m; i++) m = mentions(list->item[i], name);
    return m;
}

static int mentions_args(const fh_jcall *c, const char *name) {
    int m = 0;
    for (uint32_t i = 0; c && i < c->n_pos && !m; i++) m = mentions(c->pos[i], name);
    for (uint32_t i = 0; c && i < c->n_kw && !m; i++) m = mentions(c->kw[i], name);
    if (c && !m) m = mentions(c->star, name);
    return c && !m ? mentions(c->star2, name) : m;
}

static int mentions_func(const fh_jfunc *f, const char *name) {
    int m = 0;
    for (uint32_t i = 0; i < f->n_param; i++)
        if (fh_str_is(f->param[i], name)) return 2;
    for (uint32_t i = 0; i < f->n_param && !m; i++) m = mentions(f->fallback[i], name);
    return m ? m : mentions_any(&f->body, name);
}

static int mentions(const fh_jnode *n, const char *name) {
    int m;
    if (!n || n->op == FH_J_BLOCK) return 0;
    if (n->op == FH_J_NAME) return fh_str_is(n->text, name) ? 1 + n->sub : 0;
    bool target_first = n->op == FH_J_SET || n->op == FH_J_FOR;
    if (n->op == FH_J_MACRO_DEF) return mentions_func(n->func, name);
    if (target_first && (m = mentions(n->b, name))) return m;
    if ((m = mentions(n->a, name))) return m;
    if (!target_first && (m = mentions(n->b, name))) return m;
    if (n->op != FH_J_FOR && (m = mentions(n->c, name))) return m;
    if (n->func && (m = mentions_func(n->func, name))) return m;
    if (n->op != FH_J_IF && (m = mentions_any(&n->list, name))) return m;
    if ((m = mentions_any(&n->body, name))) return m;
    if (n->op == FH_J_IF && (m = mentions_any(&n->list, name))) return m;
    if ((m = mentions_any(&n->else_, name))) return m;
    if (n->op == FH_J_FOR && (m = mentions(n->c, name))) return m;
    return mentions_args(n->args, name);
}

/* ---- binding: slots for names, scopes for bodies ---- */

static fh_status bind(binder *b, place at, fh_jnode *n);

static fh_status bind_all(binder *b, place at, fh_jnodes *list) {
    for (uint32_t i = 0; i < list->n; i++) FH_TRY(bind(b, at, list->item[i]));
    return FH_OK;
}

/* The finished symbols as instructions for entering the scope. */
static fh_status make_scope(binder *b, const symbols *s, fh_jscope **out) {
    fh_jscope *c = fh_arena_alloc(&b->t->arena, 1, sizeof *c);
    if (!c) return no_memory(b);
    c->init = fh_arena_alloc(&b->t->arena, s->n, sizeof *c->init);
    if (!c->init) return no_memory(b);
    c->loop_slot = -1;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->item[i].init.how != FH_J_LOAD_PARAM) c->init[c->n_init++] = s->item[i].init;
    *out = c;
    return FH_OK;
}

static place inside(place at, symbols *s) {
    at.s = s;
    at.top = at.soft = false;
    return at;
}

static fh_status bind_name(binder *b, place at, fh_jnode *n) {
    symbols *where;
    symbol *y = find(b, at.s, n->text, &where);
    if (b->work > MAX_WORK) return too_many_names(b);
    if (n->sub && at.in_for && fh_str_is(n->text, "loop"))
        return fh_fail(b->err, FH_ERR_FORMAT, "template line %u: 'loop' cannot be assigned to", n->line);
    if (!y) { /* a place that the reference does not look at: an argument of a set block's filter */
        FH_TRY(define(b, at.s, n->text, &y));
        FH_TRY(set_load(b, at.s, y, false));
        where = at.s;
    }
    n->slot = y->init.slot;
    n->hops = hops_between(at.s->f, where->f);
    if (n->sub && at.top) return name_id(b, n->text, false, &n->export_);
    return FH_OK;
}

static fh_status bind_args(binder *b, place at, fh_jcall *c) {
    if (!c) return FH_OK;
    for (uint32_t i = 0; i < c->n_pos; i++) FH_TRY(bind(b, at, c->pos[i]));
    for (uint32_t i = 0; i < c->n_kw; i++) FH_TRY(bind(b, at, c->kw[i]));
    FH_TRY(bind(b, at, c->star));
    return bind(b, at, c->star2);
}

/* A body that is a scope of its own. first: declared and bound in it too, such as a filter. */
static fh_status bind_body(binder *b, place at, fh_jnode *first, fh_jnodes *body, fh_jscope **out) {
    symbols s = {.parent = at.s, .f = at.s->f};
    FH_TRY(collect_all(b, &s, body));
    FH_TRY(collect(b, &s, first));
    FH_TRY(bind(b, inside(at, &s), first));
    FH_TRY(bind_all(b, inside(at, &s), body));
    return make_scope(b, &s, out);
}

static fh_status copy_target(binder *b, const fh_jnode *from, fh_jnode **out) {
    fh_jnode *n = fh_arena_alloc(&b->t->arena, 1, sizeof *n);
    if (!n) return no_memory(b);
    *n = *from;
    if (n->list.n) {
        n->list.item = fh_arena_alloc(&b->t->arena, n->list.n, sizeof *n->list.item);
        if (!n->list.item) return no_memory(b);
    }
    for (uint32_t i = 0; i < n->list.n; i++) FH_TRY(copy_target(b, from->list.item[i], &n->list.item[i]));
    *out = n;
    return FH_OK;
}

static fh_status bind_for(binder *b, place at, fh_jnode *n) {
    fn recursive = {.outer = at.s->f};
    fn *f = n->sub ? &recursive : at.s->f;
    symbols body = {.parent = at.s, .f = f}, other = {.parent = at.s, .f = f}, test = {.parent = at.s, .f = f};
    place in = inside(at, &body);
    int32_t loop_slot = -1;
    in.in_loop = in.in_for = true;
    FH_TRY(bind(b, at, n->a));
    if (n->sub || mentions_any(&n->body, "loop") == 1) FH_TRY(param(b, &body, FH_STR("loop"), &loop_slot));
    FH_TRY(params_of(b, &body, n->b));
    FH_TRY(collect_all(b, &body, &n->body));
    FH_TRY(bind(b, in, n->b));
    if (n->c) { /* the test sees the target too, in a scope of its own */
        fh_jnode *target;
        FH_TRY(copy_target(b, n->b, &target));
        FH_TRY(params_of(b, &test, target));
        FH_TRY(collect(b, &test, n->c));
        FH_TRY(bind(b, inside(at, &test), n->c));
        FH_TRY(bind(b, inside(at, &test), target));
        FH_TRY(make_scope(b, &test, &n->scope3));
        n->scope3->target = target;
    }
    FH_TRY(bind_all(b, in, &n->body));
    FH_TRY(make_scope(b, &body, &n->scope));
    n->scope->loop_slot = loop_slot;
    if (n->else_.n) {
        place e = inside(at, &other);
        e.in_for = true;
        FH_TRY(collect_all(b, &other, &n->else_));
        FH_TRY(bind_all(b, e, &n->else_));
        FH_TRY(make_scope(b, &other, &n->scope2));
    }
    if (n->sub) {
        n->func = fh_arena_alloc(&b->t->arena, 1, sizeof *n->func);
        if (!n->func) return no_memory(b);
        n->func->n_slot = recursive.n_slot;
        n->func->loop = n;
        n->func->line = n->line;
    }
    return FH_OK;
}

/* A macro's, call block's or block's function. around: where its free names are looked up, or NULL. */
static fh_status bind_func(binder *b, place at, symbols *around, fh_jfunc *f) {
    fn own_fn = {.outer = around ? around->f : NULL};
    symbols s = {.parent = around, .f = &own_fn};
    place in = inside(at, &s);
    in.in_loop = false;
    static const char *const special[] = {"caller", "kwargs", "varargs"};
    int32_t *const slots[] = {&f->caller_slot, &f->kwargs_slot, &f->varargs_slot};
    for (uint32_t i = 0; i < f->n_param; i++) FH_TRY(param(b, &s, f->param[i], &f->param_slot[i]));
    for (size_t i = 0; i < 3; i++) {
        bool declared = false;
        if (mentions_any(&f->body, special[i]) != 1) continue;
        for (uint32_t k = 0; k < f->n_param; k++)
            if (fh_str_is(f->param[k], special[i])) {
                declared = true;
                if (i == 0 && !f->fallback[k])
                    return fh_fail(b->err, FH_ERR_FORMAT,
                                   "template line %u: the parameter 'caller' must be left out or have a default",
                                   f->line);
            }
        if (!declared) FH_TRY(param(b, &s, fh_str_of(special[i]), slots[i]));
    }
    for (uint32_t i = 0; i < f->n_param; i++) FH_TRY(collect(b, &s, f->fallback[i]));
    FH_TRY(collect_all(b, &s, &f->body));
    for (uint32_t i = 0; i < f->n_param; i++) FH_TRY(bind(b, in, f->fallback[i]));
    FH_TRY(bind_all(b, in, &f->body));
    FH_TRY(make_scope(b, &s, &f->scope));
    f->n_slot = own_fn.n_slot;
    return FH_OK;
}

static fh_status bind_with(binder *b, place at, fh_jnode *n) {
    symbols s = {.parent = at.s, .f = at.s->f};
    for (uint32_t i = 0; i < n->list.n; i += 2) FH_TRY(params_of(b, &s, n->list.item[i]));
    FH_TRY(collect_all(b, &s, &n->body));
    for (uint32_t i = 0; i < n->list.n; i += 2) {
        FH_TRY(bind(b, inside(at, &s), n->list.item[i]));
        FH_TRY(bind(b, at, n->list.item[i + 1]));
    }
    FH_TRY(bind_all(b, inside(at, &s), &n->body));
    return make_scope(b, &s, &n->scope);
}

static fh_status bind_set_block(binder *b, place at, fh_jnode *n) {
    FH_TRY(bind(b, at, n->b));
    return bind_body(b, at, n->a, &n->body, &n->scope);
}

static fh_status known(binder *b, place at, const fh_jnode *n) {
    if (n->slot >= 0 || at.soft) return FH_OK;
    return fh_fail(b->err, FH_ERR_FORMAT, "template line %u: no %s is named '%.*s'", n->line,
                   n->op == FH_J_FILTER ? "filter" : "test", FH_STR_ARG(n->text));
}

static fh_status bind(binder *b, place at, fh_jnode *n) {
    if (!n) return FH_OK;
    place soft = at;
    soft.soft = true;
    switch ((fh_jop)n->op) {
    case FH_J_NAME: return bind_name(b, at, n);
    case FH_J_FOR: return bind_for(b, at, n);
    case FH_J_WITH: return bind_with(b, at, n);
    case FH_J_SCOPE: return bind_body(b, at, NULL, &n->body, &n->scope);
    case FH_J_FILTER_BLOCK: return bind_body(b, at, n->a, &n->body, &n->scope);
    case FH_J_SET_BLOCK: return bind_set_block(b, at, n);
    case FH_J_BLOCK: return bind_func(b, at, n->sub ? at.s : NULL, n->func);
    case FH_J_MACRO_DEF: FH_TRY(bind_func(b, at, at.s, n->func)); return bind(b, at, n->b);
    case FH_J_CALL_BLOCK: FH_TRY(bind_func(b, at, at.s, n->func)); return bind(b, at, n->a);
    case FH_J_IF:
        FH_TRY(bind(b, soft, n->a));
        FH_TRY(bind_all(b, soft, &n->body));
        FH_TRY(bind_all(b, soft, &n->list));
        return bind_all(b, soft, &n->else_);
    case FH_J_COND: at = soft; break;
    case FH_J_FILTER:
    case FH_J_TEST: FH_TRY(known(b, at, n)); break;
    case FH_J_BREAK:
    case FH_J_CONTINUE:
        if (!at.in_loop)
            return fh_fail(b->err, FH_ERR_FORMAT, "template line %u: '%s' outside of a loop", n->line,
                           n->op == FH_J_BREAK ? "break" : "continue");
        return FH_OK;
    default: break;
    }
    FH_TRY(bind(b, at, n->a));
    FH_TRY(bind(b, at, n->b));
    FH_TRY(bind(b, at, n->c));
    FH_TRY(bind_all(b, at, &n->list));
    return bind_args(b, at, n->args);
}

/* ---- the whole template ---- */

static fh_status list_variables(binder *b) {
    fh_template *t = b->t;
    t->variable = fh_arena_alloc(&t->arena, t->n_name, sizeof *t->variable);
    if (!t->variable) return no_memory(b);
    for (uint32_t i = 0; i < t->n_name; i++)
        if (t->name[i].asked && t->name[i].global < 0) t->variable[t->n_variable++] = i;
    return FH_OK;
}

fh_status fh_jinja_resolve(fh_template *t, fh_err *err) {
    binder b = {.t = t, .err = err};
    fn root = {.outer = NULL};
    symbols s = {.f = &root};
    FH_TRY(collect_all(&b, &s, &t->body));
    FH_TRY(bind_all(&b, (place){.s = &s, .top = true}, &t->body));
    FH_TRY(make_scope(&b, &s, &t->scope));
    t->n_slot = root.n_slot;
    return list_variables(&b);
}
