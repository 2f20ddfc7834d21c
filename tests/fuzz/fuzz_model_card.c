/* tests/fuzz/fuzz_model_card.c - libFuzzer target for what stands beside weights: a model card's front matter, a
 * licence's text, an organisation's profile; all three on each input.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: every value lies within the card and is plain, a state says what is there, each byte of a
 * normalized text comes from a byte of the input in order, normalizing twice changes nothing, nothing leaks. */
#include "base/cursor.h"
#include "library/license.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(fh_str value, fh_str card) {
    FH_REQUIRE(value.len > 0 && value.ptr >= card.ptr && value.ptr + value.len <= card.ptr + card.len);
    for (size_t i = 0; i < value.len; i++) FH_REQUIRE(value.ptr[i] >= 0x20 && value.ptr[i] < 0x7F);
}

static void check_card(fh_str text) {
    fh_card card;
    fh_card_parse(&card, text);
    const fh_card_field *fields[] = {&card.license,  &card.license_name, &card.license_link,
                                     &card.relation, &card.pipeline,     &card.eu_disallowed};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (fields[i]->state == FH_CARD_STATED) check_value(fields[i]->text, text);
        else FH_REQUIRE(fields[i]->text.len == 0);
    }
    FH_REQUIRE(card.n_base <= FH_CARD_MOST_BASES && (card.bases == FH_CARD_STATED) == (card.n_base > 0));
    for (size_t i = 0; i < card.n_base; i++) check_value(card.base[i], text);
}

static void check_form(fh_str text, fh_license_form form) {
    fh_buf once, from, twice;
    fh_buf_init(&once, 4 * text.len + 16);
    fh_buf_init(&from, 16 * text.len + 64);
    fh_buf_init(&twice, 4 * text.len + 16);
    if (fh_license_normalize(&once, &from, text, form) && fh_buf_check(&once, NULL) == FH_OK) {
        FH_REQUIRE(from.len == 4 * once.len);
        for (size_t i = 0; i < once.len; i++) {
            uint32_t at = fh_load_u32(from.ptr + 4 * i);
            FH_REQUIRE(at < text.len && (i == 0 || at >= fh_load_u32(from.ptr + 4 * (i - 1))));
        }
        FH_REQUIRE(fh_license_normalize(&twice, NULL, fh_buf_str(&once), FH_LICENSE_FORM_TEXT));
        bool marked = fh_str_starts(fh_buf_str(&once), "\xEF\xBB\xBF"); /* one behind blanks comes to the front */
        FH_REQUIRE(marked || fh_str_eq(fh_buf_str(&once), fh_buf_str(&twice)));
    }
    fh_buf_release(&twice);
    fh_buf_release(&from);
    fh_buf_release(&once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str text = {(const char *)data, size};
    fh_org org;
    fh_err err = {0};
    uint64_t live = fh_mem_get_stats().live_bytes;
    check_card(text);
    check_form(text, FH_LICENSE_FORM_TEXT);
    check_form(text, FH_LICENSE_FORM_OWNER);
    if (fh_org_parse(&org, text, &err) != FH_OK) FH_REQUIRE(err.message[0]);
    else FH_REQUIRE(org.n_country <= FH_ORG_MOST_COUNTRIES);
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    return 0;
}
