/* library/hub.h - where models are published: a name to a list of files with sizes and digests. Nothing is fetched
 * here but listings.
 * SPDX-License-Identifier: Apache-2.0
 *   owner/repo[@rev][:VARIANT], hf.co/..., https://huggingface.co/...     Hugging Face
 *   llama3.2:1b, host/namespace/name:tag, name@sha256:...                 Ollama's registry, any OCI registry
 * What a server says is hostile: a path that leads out of a folder, a digest that is none, a list without end or two
 * files in one place is an error, never a guess. Pickle files are not taken: opening one runs what is in it. */
#ifndef FH_LIBRARY_HUB_H
#define FH_LIBRARY_HUB_H

#include "library/fetch.h"
#include "library/store.h"

typedef enum fh_hub { FH_HUB_HF, FH_HUB_OCI } fh_hub;

typedef struct fh_hub_name {
    fh_hub hub;
    char base[1024];    /* "https://huggingface.co", "https://registry.ollama.ai" */
    char repo[512];     /* "owner/repo", "library/llama3.2" */
    char revision[256]; /* "main"; tag or "sha256:..." */
    char variant[256];  /* "Q4_K_M", a file's name, or "" */
    char name[400];     /* in the library: "owner/repo:Q4_K_M", "llama3.2:1b" */
    char source[1400];  /* what to pull again; the endpoint is not part of it */
} fh_hub_name;

/* endpoint: NULL, or the address to ask in place of the usual one. */
FH_MUST_USE fh_status fh_hub_parse(fh_hub_name *out, const char *model, const char *endpoint, fh_err *err);

typedef struct fh_hub_file {
    fh_store_file file;   /* digest "" where the listing has only git's */
    char git[FH_GIT_HEX]; /* or "" */
    fh_str url;
} fh_hub_file;

typedef struct fh_hub_listing {
    fh_arena arena;
    fh_hub_file *file; /* [n] */
    size_t n;
    fh_str revision, entry; /* commit or manifest's digest; the file to open, or "" */
    char bearer[4096];      /* for the files, or "" */
} fh_hub_listing;

/* all: every file that is not pickle, not only what is needed to run. */
FH_MUST_USE fh_status fh_hub_list(fh_hub_listing *out, fh_fetch *f, const fh_hub_name *name, bool all, fh_err *err);
void fh_hub_listing_release(fh_hub_listing *l);

/* The user's token for Hugging Face: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the client's file; "" without one. */
FH_MUST_USE fh_status fh_hub_token(char out[4096], fh_err *err);

#endif
