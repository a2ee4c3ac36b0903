/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The program with the key lock taken away: what teal-xdp-race must find.
 */
#include "teal/table.h"

#define teal_lock_try(word, owner) ((void)(word), (void)(owner), 1)

#include "../../bpf/teal.bpf.c"
