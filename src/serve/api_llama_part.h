/* serve/api_llama_part.h - what the files of llama-server's API share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_API_LLAMA_PART_H
#define FH_SERVE_API_LLAMA_PART_H

#include "serve/chat.h"
#include "serve/json_put.h"

#endif
