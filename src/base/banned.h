/* base/banned.h - calls that cannot be used safely do not compile. Included by the build before every file.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_BASE_BANNED_H
#define FH_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef sprintf /* macros of the C library under _FORTIFY_SOURCE */
#undef vsprintf
#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atoll atof
#pragma GCC poison srand drand48 tmpnam mktemp tempnam setenv putenv asctime ctime

#endif
