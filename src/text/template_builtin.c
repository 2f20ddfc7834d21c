/* text/template_builtin.c - chat templates of our own, and which model gets which.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. The texts between the turns are the families' formats; the templates around them are written here.
 * Contents may be texts or lists of parts, of which the texts count. Checked against golden prompts where the
 * family has some, and against the publisher's own encoder for Mistral (tests/unit/test_template_builtin.c). */
#include "text/template_builtin.h"

#include "base/num.h"
#include "text/jinja_part.h"

/* text(content): the text of a message. */
#define TEXT_MACRO \
    "{%- macro text(c) -%}{%- if c is string -%}{{ c }}{%- elif c -%}{%- for p in c -%}" \
    "{%- if p is string -%}{{ p }}{%- elif p.text is defined -%}{{ p.text }}{%- endif -%}{%- endfor -%}" \
    "{%- endif -%}{%- endmacro -%}"

/* ---- plain turns ---- */

static const char chatml[] = TEXT_MACRO
    "{%- for m in messages -%}{{ '<|im_start|>' ~ m.role ~ '\\n' ~ text(m.content) ~ '<|im_end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}";

static const char llama3[] = TEXT_MACRO
    "{{- bos_token -}}"
    "{%- for m in messages -%}{{ '<|start_header_id|>' ~ ('ipython' if m.role == 'tool' else m.role) ~ "
    "'<|end_header_id|>\\n\\n' ~ text(m.content)|trim ~ '<|eot_id|>' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}";

static const char llama2[] = TEXT_MACRO
    "{%- set ns = namespace(system='', open=false) -%}"
    "{%- for m in messages -%}"
    "{%- if m.role == 'system' -%}{%- set ns.system = '<<SYS>>\\n' ~ text(m.content) ~ '\\n<</SYS>>\\n\\n' -%}"
    "{%- elif m.role == 'assistant' -%}{{ ' ' ~ text(m.content)|trim ~ ' ' ~ eos_token }}{%- set ns.open = false -%}"
    "{%- else -%}{{ '' if ns.open else bos_token }}{{ '[INST] ' ~ ns.system ~ text(m.content)|trim ~ ' [/INST]' }}"
    "{%- set ns.system = '' -%}{%- set ns.open = true -%}{%- endif -%}{%- endfor -%}";

static const char gemma[] =
    TEXT_MACRO "{{- bos_token -}}{%- set ns = namespace(system='') -%}"
               "{%- for m in messages -%}"
               "{%- if m.role == 'system' or m.role == 'developer' -%}{%- set ns.system = ns.system ~ "
               "text(m.content)|trim ~ '\\n\\n' -%}"
               "{%- else -%}{{ '<start_of_turn>' ~ ('model' if m.role == 'assistant' else 'user') ~ '\\n' }}"
               "{%- if m.role != 'assistant' -%}{{ ns.system }}{%- set ns.system = '' -%}{%- endif -%}"
               "{{ text(m.content)|trim ~ '<end_of_turn>\\n' }}{%- endif -%}{%- endfor -%}"
               "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}";

static const char phi3[] =
    TEXT_MACRO "{%- for m in messages -%}{{ '<|' ~ m.role ~ '|>\\n' ~ text(m.content) ~ '<|end|>\\n' }}{%- endfor -%}"
               "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}";

static const char vicuna[] =
    TEXT_MACRO "{{- bos_token -}}"
               "{%- for m in messages -%}"
               "{%- if m.role == 'system' -%}{{ text(m.content) ~ ' ' }}"
               "{%- elif m.role == 'assistant' -%}{{ 'ASSISTANT: ' ~ text(m.content) ~ eos_token }}"
               "{%- else -%}{{ 'USER: ' ~ text(m.content) ~ ' ' }}{%- endif -%}{%- endfor -%}"
               "{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}";

/* ---- Mistral: preludes set the version `v` and the blank `sp` that SentencePiece pieces begin with ----
 * The system prompt goes in front of the first (v1) or last user turn, or has a turn of its own (v7). Tools are
 * announced before the last user turn. v1 and v2 forget the calls of earlier turns. */
static const char mistral[] = TEXT_MACRO
    "{%- set ns = namespace(system='', last=-1, first=-1) -%}"
    "{%- for m in messages -%}"
    "{%- if m.role == 'user' -%}{%- set ns.last = loop.index0 -%}"
    "{%- if ns.first < 0 -%}{%- set ns.first = loop.index0 -%}{%- endif -%}"
    "{%- elif m.role == 'system' or m.role == 'developer' -%}"
    "{%- set ns.system = ns.system ~ ('\\n\\n' if ns.system) ~ text(m.content) -%}{%- endif -%}{%- endfor -%}"
    "{{- bos_token -}}"
    "{%- if v >= 7 and ns.system -%}{{ '[SYSTEM_PROMPT]' ~ sp ~ ns.system ~ '[/SYSTEM_PROMPT]' }}{%- endif -%}"
    "{%- set carrier = -1 if v >= 7 else ns.first if v == 1 else ns.last -%}"
    "{%- for m in messages -%}{%- set i = loop.index0 -%}"
    "{%- if m.role == 'user' -%}"
    "{%- if tools and i == ns.last and v >= 2 -%}{{ '[AVAILABLE_TOOLS]' ~ sp ~ (tools|tojson) ~ '[/AVAILABLE_TOOLS]' }}"
    "{%- endif -%}"
    "{%- if v == 1 -%}{{ ' ' }}{%- endif -%}{{ '[INST]' ~ sp }}"
    "{%- if i == carrier and ns.system -%}{{ ns.system ~ '\\n\\n' }}{%- endif -%}"
    "{{ text(m.content) ~ (' ' if v == 1) ~ '[/INST]' }}"
    "{%- elif m.role == 'assistant' and m.tool_calls -%}"
    "{%- if v >= 3 -%}{{ '[TOOL_CALLS]' ~ sp ~ '[' }}"
    "{%- for c in m.tool_calls -%}{%- set args = c.function.arguments -%}"
    "{%- if args is string -%}{%- set args = args|from_json -%}{%- endif -%}"
    "{{ {'name': c.function.name, 'arguments': args, 'id': c.id or '000000000'}|tojson ~ ('' if loop.last else ', ') }}"
    "{%- endfor -%}{{ ']' ~ eos_token }}{%- endif -%}"
    "{%- elif m.role == 'assistant' -%}{{ sp ~ text(m.content)|trim ~ eos_token }}"
    "{%- elif m.role == 'tool' and v >= 7 -%}"
    "{{ '[TOOL_RESULTS]' ~ sp ~ (m.tool_call_id or '000000000') ~ '[TOOL_CONTENT]' ~ sp ~ text(m.content) ~ "
    "'[/TOOL_RESULTS]' }}"
    "{%- elif m.role == 'tool' and v >= 3 -%}"
    "{{ '[TOOL_RESULTS]' ~ sp ~ ({'content': text(m.content), 'call_id': m.tool_call_id or '000000000'}|tojson) ~ "
    "'[/TOOL_RESULTS]' }}"
    "{%- endif -%}{%- endfor -%}";

/* ---- DeepSeek: calls and their arguments in DSML tags ---- */

#define DEEPSEEK_HEAD \
    TEXT_MACRO \
    "{%- set think = thinking if thinking is defined else enable_thinking|default(false) -%}" \
    "{%- set ns = namespace(system='', last=-1, calls=false) -%}" \
    "{%- for m in messages -%}" \
    "{%- if m.role == 'system' -%}{%- set ns.system = ns.system ~ ('\\n\\n' if not loop.first) ~ text(m.content) -%}" \
    "{%- elif m.role in ['user', 'developer', 'tool'] -%}{%- set ns.last = loop.index0 -%}" \
    "{%- if m.role == 'tool' -%}{%- set ns.calls = true -%}{%- endif -%}{%- endif -%}{%- endfor -%}" \
    "{%- macro call_block(calls, tag, empty) -%}" \
    "{{- '\\n\\n<｜DSML｜' ~ tag ~ '>\\n' -}}" \
    "{%- for c in calls -%}{%- set args = c.function.arguments -%}" \
    "{%- if args is string -%}{%- set args = args|from_json -%}{%- endif -%}" \
    "{{- '<｜DSML｜invoke name=\"' ~ c.function.name ~ '\">\\n' -}}" \
    "{%- for k, x in args.items() -%}{%- set plain = x is string -%}" \
    "{{- '<｜DSML｜parameter name=\"' ~ k ~ '\" string=\"' ~ (plain|lower) ~ '\">' ~ (x if plain else x|tojson) ~ " \
    "'</｜DSML｜parameter>\\n' -}}" \
    "{%- endfor -%}{{- (empty if not args) ~ '</｜DSML｜invoke>\\n' -}}{%- endfor -%}" \
    "{{- '</｜DSML｜' ~ tag ~ '>' -}}{%- endmacro -%}" \
    "{%- macro tool_lines() -%}{%- for t in tools if t.type == 'function' -%}{{ t.function|tojson ~ '\\n' }}" \
    "{%- endfor -%}{%- endmacro -%}"

static const char deepseek_v4[] = DEEPSEEK_HEAD
    "{%- set parts = [ns.system] if ns.system else [] -%}"
    "{%- if tools -%}{%- set about -%}{%- raw -%}"
    "## Tools\n\nYou have access to a set of tools to help answer the user's question. You can invoke tools by writing "
    "a "
    "\"<｜DSML｜tool_calls>\" block like the following:\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"$TOOL_NAME\">\n"
    "<｜DSML｜parameter name=\"$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n...\n"
    "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"$TOOL_NAME2\">\n...\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>\n\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all other types (numbers, booleans, "
    "arrays, objects), pass the value in JSON format and set `string=\"false\"`.\n\n"
    "If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside "
    "<think>...</think> BEFORE any tool calls or final response.\n\n"
    "Otherwise, output directly after </think> with tool calls or final response.\n\n### Available Tool Schemas\n\n"
    "{%- endraw +%}{{ '\\n\\n' ~ tool_lines() }}"
    "{{ '\\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\\n' }}"
    "{%- endset -%}{%- set parts = parts + [about] -%}{%- endif -%}"
    "{%- if response_format is defined and response_format -%}"
    "{%- set parts = parts + ['## Response Format:\\n\\nYou MUST strictly adhere to the following schema to reply:\\n' "
    "~ "
    "(response_format|tojson)] -%}{%- endif -%}"
    "{{- bos_token ~ effort(think, reasoning_effort|default('')) ~ parts|join('\\n\\n') -}}"
    "{%- set turn = namespace(user=false) -%}"
    "{%- for m in messages -%}"
    "{%- if m.role in ['user', 'developer', 'tool'] -%}"
    "{{- '\\n\\n' if turn.user else '<｜User｜>' -}}{%- set turn.user = true -%}"
    "{{- '<tool_result>' ~ text(m.content) ~ '</tool_result>' if m.role == 'tool' else text(m.content) -}}"
    "{%- elif m.role == 'assistant' -%}{%- set turn.user = false -%}"
    /* reasoning of turns before the last user message is dropped, unless tools are about */
    "{%- set keep = think and (tools or ns.calls or loop.index0 > ns.last or not drop_thinking|default(true)) -%}"
    "{{- '<｜Assistant｜>' ~ ('<think>' ~ (m.reasoning_content or '') if keep) ~ '</think>' ~ text(m.content) -}}"
    "{%- if m.tool_calls -%}{{- call_block(m.tool_calls, 'tool_calls', '\\n') -}}{%- endif -%}"
    "{{- '<｜end▁of▁sentence｜>' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<｜Assistant｜>' ~ ('<think>' if think else '</think>') -}}{%- endif -%}";

static const char deepseek_v4_prelude[] =
    "{%- macro effort(think, level) -%}{%- if think and level == 'max' -%}"
    "{{ 'Reasoning Effort: Absolute maximum with no shortcuts permitted.\\nYou MUST be very thorough in your thinking "
    "and "
    "comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against all "
    "potential paths, edge cases, and adversarial scenarios.\\nExplicitly write out your entire deliberation process, "
    "documenting every intermediate step, considered alternative, and rejected hypothesis to ensure absolutely no "
    "assumption is left unchecked.\\n\\n' }}{%- endif -%}{%- endmacro -%}";

static const char deepseek_v32[] = DEEPSEEK_HEAD
    "{{- bos_token ~ ns.system -}}"
    "{%- if tools -%}{{- '\\n\\n' if ns.system -}}{%- raw -%}"
    "## Tools\n\nYou have access to a set of tools you can use to answer the user's question.\n"
    "You can invoke functions by writing a \"<｜DSML｜function_calls>\" block like the following as part of your reply "
    "to "
    "the user:\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"$FUNCTION_NAME\">\n"
    "<｜DSML｜parameter name=\"$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n...\n"
    "</｜DSML｜invoke>\n<｜DSML｜invoke "
    "name=\"$FUNCTION_NAME2\">\n...\n</｜DSML｜invoke>\n</｜DSML｜function_calls>\n\n"
    "String and scalar parameters should be specified as is without any escaping or quotes, while lists and objects "
    "should use JSON format. The \"string\" attribute should be set to \"true\" for string type parameters and "
    "\"false\" "
    "for other types (numbers, booleans, arrays, objects).\n\n"
    "If the thinking_mode is enabled, then after function results you should strongly consider outputting a thinking "
    "block. Here is an "
    "example:\n\n<｜DSML｜function_calls>\n...\n</｜DSML｜function_calls>\n\n<function_results>\n...\n"
    "</function_results>\n\n<think>...thinking about results</think>\n\n"
    "Here are the functions available in JSONSchema format:\n<functions>\n"
    "{%- endraw +%}{{- '\\n' ~ tool_lines() ~ '</functions>\\n' -}}{%- endif -%}"
    /* after: what the next answer begins with; 'user', 'tool' or none */
    "{%- set turn = namespace(after='', results=0) -%}"
    "{%- for m in messages -%}"
    "{%- if m.role == 'user' -%}{{- '<｜User｜>' ~ text(m.content) -}}{%- set turn.after = 'user' -%}"
    "{%- elif m.role == 'tool' -%}"
    "{{- '\\n\\n<function_results>' if not turn.results -}}{%- set turn.results = turn.results + 1 -%}"
    "{{- '\\n<result>' ~ text(m.content) ~ '</result>' -}}"
    "{%- if loop.last or loop.nextitem.role != 'tool' -%}{{- '\\n</function_results>' -}}{%- set turn.results = 0 -%}"
    "{%- set turn.after = 'tool' -%}{%- endif -%}"
    "{%- elif m.role == 'assistant' -%}"
    "{%- if turn.after -%}{{- '<｜Assistant｜>' if turn.after == 'user' else '\\n\\n' -}}"
    "{{- ('<think>' ~ (m.reasoning_content or '') if think and loop.index0 > ns.last) ~ '</think>' -}}{%- endif -%}"
    "{%- set turn.after = '' -%}{{- text(m.content) -}}"
    "{%- if m.tool_calls -%}{{- call_block(m.tool_calls, 'function_calls', '') -}}{%- endif -%}"
    "{{- '<｜end▁of▁sentence｜>' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt and turn.after -%}"
    "{{- ('<｜Assistant｜>' if turn.after == 'user' else '\\n\\n') ~ '<think>' ~ ('' if think else '</think>') -}}"
    "{%- endif -%}";

/* ---- the table ---- */

static const fh_template_builtin builtins[] = {
    {"chatml", "ChatML turns: Qwen, Yi, many fine-tunes", "", chatml},
    {"llama3", "Llama 3 turns", "", llama3},
    {"llama2", "Llama 2 chat", "", llama2},
    {"gemma", "Gemma 1 to 3", "", gemma},
    {"phi3", "Phi-3, Zephyr-like tags with <|end|>", "", phi3},
    {"vicuna", "Vicuna 1.1, LLaVA 1.5", "", vicuna},
    {"mistral-v1", "Mistral 7B v0.1, Mixtral 8x7B", "{%- set v = 1 -%}{%- set sp = ' ' -%}", mistral},
    {"mistral-v2", "Mistral 7B v0.2, Mistral Large 2402", "{%- set v = 2 -%}{%- set sp = ' ' -%}", mistral},
    {"mistral-v3", "Mistral 7B v0.3, Mixtral 8x22B", "{%- set v = 3 -%}{%- set sp = ' ' -%}", mistral},
    {"mistral-v3-tekken", "Mistral Nemo", "{%- set v = 3 -%}{%- set sp = '' -%}", mistral},
    {"mistral-v7", "Mistral Large 2411, Pixtral Large", "{%- set v = 7 -%}{%- set sp = ' ' -%}", mistral},
    {"deepseek-v3.2", "DeepSeek V3.2", "", deepseek_v32},
    {"deepseek-v4", "DeepSeek V4", deepseek_v4_prelude, deepseek_v4},
};

size_t fh_template_n_builtin(void) { return FH_COUNT(builtins); }
const fh_template_builtin *fh_template_builtin_at(size_t i) { return i < FH_COUNT(builtins) ? &builtins[i] : NULL; }

const fh_template_builtin *fh_template_builtin_find(fh_str name) {
    for (size_t i = 0; i < FH_COUNT(builtins); i++)
        if (fh_str_is(name, builtins[i].name)) return &builtins[i];
    return NULL;
}

static bool has(const fh_template_hint *h, const char *token) {
    return h->has_token && h->has_token(h->ctx, fh_str_of(token));
}

const fh_template_builtin *fh_template_builtin_pick(const fh_template_hint *h, const char **why) {
    static const struct {
        const char *architecture, *name;
    } by_architecture[] = {
        {"deepseek4", "deepseek-v4"},      {"deepseek_v4", "deepseek-v4"},   {"deepseek32", "deepseek-v3.2"},
        {"deepseek_v32", "deepseek-v3.2"}, {"deepseek3_2", "deepseek-v3.2"},
    };
    static const struct {
        const char *token, *second, *name, *why;
    } by_token[] = {
        {"<|im_start|>", "<|im_end|>", "chatml", "the vocabulary has <|im_start|> and <|im_end|>"},
        {"<|start_header_id|>", "<|eot_id|>", "llama3", "the vocabulary has <|start_header_id|> and <|eot_id|>"},
        {"<start_of_turn>", "<end_of_turn>", "gemma", "the vocabulary has <start_of_turn> and <end_of_turn>"},
        {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "mistral-v7", "the vocabulary has [SYSTEM_PROMPT]"},
        {"[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "mistral-v3", "the vocabulary has [AVAILABLE_TOOLS] and [TOOL_CALLS]"},
        {"<|user|>", "<|end|>", "phi3", "the vocabulary has <|user|> and <|end|>"},
    };
    for (size_t i = 0; i < FH_COUNT(by_architecture); i++)
        if (fh_str_is(h->architecture, by_architecture[i].architecture)) {
            *why = "the architecture says so";
            return fh_template_builtin_find(fh_str_of(by_architecture[i].name));
        }
    for (size_t i = 0; i < FH_COUNT(by_token); i++) {
        if (!has(h, by_token[i].token) || !has(h, by_token[i].second)) continue;
        *why = by_token[i].why;
        bool tekken = fh_str_is(h->tokenizer, "tekken.json") && strcmp(by_token[i].name, "mistral-v3") == 0;
        return fh_template_builtin_find(tekken ? FH_STR("mistral-v3-tekken") : fh_str_of(by_token[i].name));
    }
    if (fh_str_is(h->architecture, "mistral") || fh_str_is(h->architecture, "mixtral")) {
        *why = "the architecture is Mistral's and the vocabulary has none of its later control tokens";
        return fh_template_builtin_find(FH_STR("mistral-v1"));
    }
    return NULL;
}

fh_status fh_template_builtin_compile(fh_template **out, const fh_template_builtin *b, fh_err *err) {
    fh_buf source;
    fh_buf_init(&source, FH_J_MAX_SOURCE);
    fh_buf_add_z(&source, b->prelude);
    fh_buf_add_z(&source, b->body);
    fh_status s = fh_buf_check(&source, err);
    if (s == FH_OK) s = fh_jinja_compile(out, fh_buf_str(&source), true, err);
    fh_buf_release(&source);
    return s;
}
