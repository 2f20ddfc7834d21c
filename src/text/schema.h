/* text/schema.h - JSON Schema (draft 2020-12) to a grammar that accepts exactly the valid instances.
 * SPDX-License-Identifier: Apache-2.0
 * A schema is turned into a normal form: for each value which null, true, false, numbers, strings, arrays and objects
 * it may be. Conjunctions ($ref beside keywords, allOf) are intersected, alternatives united, negations complemented,
 * all on automata, so what is accepted does not depend on how the schema is written. Properties come in any order.
 *
 * Supported: true, false; type (lists too), enum, const; properties, required, additionalProperties, patternProperties,
 * propertyNames, minProperties, maxProperties, dependentRequired, dependentSchemas; items, prefixItems, minItems,
 * maxItems; minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf; minLength, maxLength, pattern, format;
 * allOf, anyOf, oneOf, not, if/then/else; $ref into the same document, $defs, definitions, $anchor; nullable (of
 * OpenAPI, beside type); unevaluatedProperties and unevaluatedItems beside $ref and allOf. Annotations and names that
 * begin with x- are ignored. oneOf: branches that cannot overlap, or that can be told apart by complements. not, if:
 * what has an exact complement. Formats (always asserted): date, time, date-time, duration, uuid, email, hostname,
 * ipv4, ipv6, uri, json-pointer.
 *
 * Refused, each with the JSON pointer of the keyword: every other keyword and format, uniqueItems and contains unless
 * trivial, references to other documents, and combinations that have no exact grammar. Never weakened.
 *
 * Numbers: where a bound, multipleOf, enum, const or "integer" applies they are written without exponent; 1.0 is an
 * integer, as the standard says. Compared exactly, digit by digit, never as floating point. */
#ifndef FH_TEXT_SCHEMA_H
#define FH_TEXT_SCHEMA_H

#include "base/json.h"
#include "text/grammar.h"

FH_MUST_USE fh_status fh_grammar_from_schema(fh_grammar **out, const fh_json_node *schema,
                                             const fh_grammar_options *opt, fh_err *err);

#endif
