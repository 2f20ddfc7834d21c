/* models/builtin.S - puts the file FH_MODEL_FILE into the binary, read-only and page-aligned.
 * SPDX-License-Identifier: Apache-2.0 */
    .section .rodata.fh_builtin_model, "a"
    .balign 4096
    .global fh_builtin_model_start
    .type fh_builtin_model_start, %object
fh_builtin_model_start:
    .incbin FH_MODEL_FILE
    .global fh_builtin_model_end
    .type fh_builtin_model_end, %object
fh_builtin_model_end:
    .byte 0
    .size fh_builtin_model_start, fh_builtin_model_end - fh_builtin_model_start
    .section .note.GNU-stack, "", %progbits
