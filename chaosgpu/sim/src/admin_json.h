/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the fields, and the state as JSON. */
#ifndef CHAOSGPU_ADMIN_JSON_H
#define CHAOSGPU_ADMIN_JSON_H

#include <stddef.h>
#include <stdio.h>

struct field {
    const char *name;
    const char *kind;
    char type;
    size_t offset;
    size_t count; /* bytes of a text, words of an array, else 1 */
};

extern struct field system_fields[], gpu_fields[];

/* The state must be open and locked. */
void write_state(FILE *out, const char *const *function_names);

#endif
