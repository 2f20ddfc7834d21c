/* text/split_recipe.c - what the names in a GGUF's tokenizer.ggml.pre stand for.
 * SPDX-License-Identifier: Apache-2.0
 * The patterns are the publishers' own, from their tokenizer.json, where they are known; llama.cpp cuts with simpler
 * ones for some names. Where only that reading is at hand (afmoe, falcon, superbpe, the oldest ones), it is taken.
 * All of them mean the same in both dialects but those with $, which are Oniguruma's. */
#include "text/split.h"

#include "base/num.h"

/* clang-format off */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define OTHERS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define NOT_WORD "[^\\r\\n\\p{L}\\p{N}]?"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CJK "[一-龥ࠀ-一가-퟿]+"
#define DS3 \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A" \
    "-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"

static const char *const gpt2[] = {
    GPT2,
    NULL,
};
static const char *const llama3[] = {
    CONTRACTION "|" WORD "|\\p{N}{1,3}" OTHERS SPACES,
    NULL,
};
static const char *const qwen2[] = {
    CONTRACTION "|" WORD "|\\p{N}" OTHERS SPACES,
    NULL,
};
static const char *const qwen35[] = {
    CONTRACTION "|" NOT_WORD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES,
    NULL,
};
static const char *const jais2[] = {
    CONTRACTION "|" WORD "|\\p{N}{1,3}" OTHERS
        "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{"
        "32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}",
    NULL,
};
static const char *const deepseek_llm[] = {
    "[\\r\\n]",
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-Ჺ"
        "Ჽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝ"
        "ℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀" "-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
    "\\s+$",
    CJK,
    "\\p{N}",
    NULL,
};
static const char *const deepseek_coder[] = {
    "[\\r\\n]",
    "\\s?\\p{L}+",
    "\\s?\\p{P}+",
    CJK,
    "\\p{N}",
    NULL,
};
static const char *const deepseek_v3[] = {
    "\\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    DS3 "[\\r\\n]*" SPACES,
    NULL,
};
static const char *const spark[] = {
    "\\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    DS3 "|[\\r\\n]|\\s+(?!\\S)|\\s+",
    "\\p{N}",
    NULL,
};
static const char *const youtu[] = {
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
    NOT_WORD UPPER "*" LOWER "+" CONTRACTION "?|" NOT_WORD UPPER "+" LOWER "*" CONTRACTION
        "?|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES,
    NULL,
};
static const char *const falcon[] = {
    "[\\p{P}\\$\\+<=>\\^~\\|`]+",
    GPT2,
    "[0-9][0-9][0-9]",
    NULL,
};
static const char *const digit_gpt2[] = {
    "\\p{N}",
    GPT2,
    NULL,
};
static const char *const bloom[] = {
    " ?[^(\\s|.,!?…。，、।۔،)]+",
    NULL,
};
static const char *const viking[] = {
    " ?[^(\\s|.,!?…。，、।۔،)]+",
    "\\p{N}",
    NULL,
};
static const char *const tekken[] = {
    NOT_WORD UPPER "*" LOWER "+|" NOT_WORD UPPER "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES,
    NULL,
};
static const char *const o200k[] = {
    NOT_WORD UPPER "*" LOWER "+" CONTRACTION "?|" NOT_WORD UPPER "+" LOWER "*" CONTRACTION
        "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES,
    NULL,
};
static const char *const tiny_aya[] = {
    "\\d{1,3}(?=(?:\\d{3})*\\b)",
    NOT_WORD UPPER "*" LOWER "+" CONTRACTION "?|" NOT_WORD UPPER "+" LOWER "*" CONTRACTION
        "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES,
    NULL,
};
static const char *const kimi_k2[] = {
    "[\\p{Han}]+|" NOT_WORD "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&"
        "[^\\p{Han}]]+" CONTRACTION "?|" NOT_WORD
        "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&" "[^\\p{Han}]]*"
        CONTRACTION "?|\\p{N}{1,3}" OTHERS SPACES,
    NULL,
};
static const char *const superbpe[] = {
    "\\p{N}+",
    "(?=(\\d{3})+(?!\\d))",
    NULL,
};
static const char *const bailing[] = {
    "'(?i:[sdmt]|ll|ve|re)|" NOT_WORD
        "+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
    NULL,
};
static const char *const seed[] = {
    CONTRACTION "|" WORD "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" SPACES,
    NULL,
};
static const char *const ufakzeka[] = {
    WORD "|\\p{N}" OTHERS SPACES,
    NULL,
};
static const char *const afmoe[] = {
    "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))",
    "[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+",
    DS3 "[\\r\\n]*" SPACES,
    NULL,
};
static const char *const laguna[] = {
    "[^\\n]+|[\\n]+",
    CONTRACTION "|" WORD "|\\p{N}" OTHERS SPACES,
    NULL,
};
static const char *const exaone_moe[] = {
    CONTRACTION "|" NOT_WORD "(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*"
        "[\\r\\n]|\\s+(?!\\S)|\\s+",
    NULL,
};
static const char *const newlines[] = {
    "[^\\n]+|[\\n]+",
    NULL,
};
static const char *const minicpm5[] = {
    "\\p{N}{1,3}",
    CONTRACTION "|" WORD "|\\p{N}+" OTHERS SPACES,
    NULL,
};
static const char *const chameleon[] = {
    "<sentinel:[0-9]+>",
    "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
    "([\\t\\n]|    |  )",
    "\\p{N}",
    "[\\p{P}!-/:-@\\[-`{-~]",
    GPT2,
    NULL,
};
static const char *const whitespace[] = {
    "\\S+",
    NULL,
};
static const char *const legacy[] = {
    "[\\p{P}\\$\\+<=>\\^~\\|]+",
    GPT2,
    "\\p{N}+",
    "[0-9][0-9][0-9]",
    NULL,
};

static const fh_split_recipe recipe[] = {
    {"default", legacy, false, false, true},
    {"minicpm5", minicpm5, true, false, false},
    {"llama3", llama3, true, true, false},
    {"llama-v3", llama3, true, true, false},
    {"llama-bpe", llama3, true, true, false},
    {"falcon3", llama3, true, true, false},
    {"falcon-h1", llama3, true, true, false},
    {"pixtral", llama3, true, true, false},
    {"midm-2.0", llama3, true, true, false},
    {"lfm2", llama3, true, true, false},
    {"jina-v5-nano", llama3, true, true, false},
    {"deepseek-llm", deepseek_llm, false, false, false},
    {"deepseek-coder", deepseek_coder, false, false, false},
    {"deepseek-v3", deepseek_v3, false, false, false},
    {"hunyuan-dense", deepseek_v3, false, false, false},
    {"joyai-llm", deepseek_v3, false, false, false},
    {"hy_v4", deepseek_v3, false, false, false},
    {"spark2_5", spark, false, false, false},
    {"youtu", youtu, true, false, false},
    {"falcon", falcon, false, false, false},
    {"mpt", gpt2, false, false, false},
    {"olmo", gpt2, false, false, false},
    {"jais", gpt2, false, false, false},
    {"trillion", gpt2, false, false, false},
    {"granite-docling", gpt2, false, false, false},
    {"exaone4", gpt2, false, false, false},
    {"gpt-2", gpt2, false, false, false},
    {"phi-2", gpt2, false, false, false},
    {"jina-es", gpt2, false, false, false},
    {"jina-de", gpt2, false, false, false},
    {"gigachat", gpt2, false, false, false},
    {"jina-v2-es", gpt2, false, false, false},
    {"jina-v2-de", gpt2, false, false, false},
    {"a.x-4.0", gpt2, false, false, false},
    {"mellum", gpt2, false, false, false},
    {"modern-bert", gpt2, false, false, false},
    {"jina-v1-en", gpt2, false, false, false},
    {"jina-v2-code", gpt2, false, false, false},
    {"roberta-bpe", gpt2, false, false, false},
    {"starcoder", digit_gpt2, false, false, false},
    {"refact", digit_gpt2, false, false, false},
    {"command-r", digit_gpt2, false, false, false},
    {"smollm", digit_gpt2, false, false, false},
    {"codeshell", digit_gpt2, false, false, false},
    {"exaone", digit_gpt2, false, false, false},
    {"minerva-7b", digit_gpt2, false, false, false},
    {"mellum2", digit_gpt2, false, false, false},
    {"qwen2", qwen2, false, false, false},
    {"deepseek-r1-qwen", qwen2, false, false, false},
    {"kormo", qwen2, false, false, false},
    {"f2llmv2", qwen2, false, false, false},
    {"stablelm2", qwen2, false, false, false},
    {"megrez", qwen2, false, false, false},
    {"hunyuan", qwen2, false, false, false},
    {"solar-open", qwen2, false, false, false},
    {"grok-2", qwen2, false, false, false},
    {"qwen35", qwen35, false, false, false},
    {"jais-2", jais2, false, false, false},
    {"gemma4", newlines, false, true, false},
    {"granite-embed-multi-311m", newlines, false, true, false},
    {"sarvam-moe", newlines, false, false, false},
    {"whitespace", whitespace, false, false, false},
    {"dbrx", llama3, false, false, false},
    {"smaug-bpe", llama3, false, false, false},
    {"chatglm-bpe", llama3, false, false, false},
    {"glm4", llama3, true, false, false},
    {"glm5", llama3, true, false, false},
    {"poro-chat", bloom, false, false, false},
    {"bloom", bloom, false, false, false},
    {"gpt3-finnish", bloom, false, false, false},
    {"viking", viking, false, false, false},
    {"tekken", tekken, true, true, false},
    {"exaone-moe", exaone_moe, false, false, false},
    {"chameleon", chameleon, false, true, false},
    {"gpt-4o", o200k, false, false, false},
    {"llama4", o200k, false, false, false},
    {"kanana2", o200k, false, false, false},
    {"talkie", o200k, false, false, false},
    {"minimax-m2", o200k, false, false, false},
    {"granite-embed-multi-97m", o200k, true, false, false},
    {"tiny_aya", tiny_aya, false, false, false},
    {"cohere2moe", tiny_aya, false, false, false},
    {"superbpe", superbpe, false, false, false},
    {"bailingmoe", bailing, false, false, false},
    {"bailingmoe2", bailing, false, false, false},
    {"llada-moe", bailing, false, false, false},
    {"seed-coder", seed, false, false, false},
    {"kimi-k2", kimi_k2, false, false, false},
    {"ufakzeka", ufakzeka, false, false, false},
    {"afmoe", afmoe, false, false, false},
    {"laguna", laguna, false, false, false},
};
/* clang-format on */

const fh_split_recipe *fh_split_recipe_find(fh_str pre) {
    for (size_t i = 0; i < FH_COUNT(recipe); i++)
        if (fh_str_is(pre, recipe[i].name)) return &recipe[i];
    return NULL;
}
