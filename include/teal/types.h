/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Ground types of the shared definition. Everything under include/teal/ is restricted C: clang -target bpf and
 * g++ -std=c++20 both compile it. No tables, clocks, logging or allocation; no #ifdef inside a stage. What differs
 * between the two engines (how memory is reached atomically) is named here once and nowhere else.
 */
#ifndef TEAL_TYPES_H
#define TEAL_TYPES_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "teal's flow keys and checksums are written for little-endian machines"
#endif

#define TEAL_INLINE static inline __attribute__((always_inline))
#define TEAL_LIKELY(x) __builtin_expect(!!(x), 1)
#define TEAL_UNLIKELY(x) __builtin_expect(!!(x), 0)

#ifdef __cplusplus
#define TEAL_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define TEAL_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/* A value in network byte order. Kept as plain integers so that C can use them; the name says the order. */
typedef uint16_t teal_be16;
typedef uint32_t teal_be32;

TEAL_INLINE uint16_t teal_swap16(uint16_t x) { return __builtin_bswap16(x); }
TEAL_INLINE uint32_t teal_swap32(uint32_t x) { return __builtin_bswap32(x); }
TEAL_INLINE uint64_t teal_swap64(uint64_t x) { return __builtin_bswap64(x); }

/* Shared-memory access. BPF (clang 14) knows no acquire loads: a volatile access is what its JIT keeps in order. */
#ifdef __bpf__
#define TEAL_LOAD(p) (*(const volatile __typeof__(*(p)) *)(p))
#define TEAL_STORE(p, v) (*(volatile __typeof__(*(p)) *)(p) = (v))
#define TEAL_CAS(p, from, to) (__sync_val_compare_and_swap((p), (from), (to)) == (from))
#define TEAL_OR(p, bits) ((void)__sync_fetch_and_or((p), (bits)))
#define TEAL_COUNT(p) ((void)__sync_fetch_and_add((p), 1)) /* a counter that CPUs may share */
/* Headers lie at any address. BPF reaches them by whole words all the same; told that they are packed, clang 14 would go
 * byte by byte. (Their sizes are asserted: there is nothing to pack.) */
#define TEAL_PACKED
#define TEAL_UNROLL _Pragma("unroll")
#define TEAL_COPY(to, from, bytes)                                                                     \
  do {                                                                                                 \
    _Pragma("unroll") for (unsigned int teal_i = 0; teal_i + 4 <= (bytes); teal_i += 4)                \
        *(uint32_t *)((uint8_t *)(to) + teal_i) = *(const uint32_t *)((const uint8_t *)(from) + teal_i); \
    if ((bytes) & 2)                                                                                   \
      *(uint16_t *)((uint8_t *)(to) + ((bytes) & ~3u)) = *(const uint16_t *)((const uint8_t *)(from) + ((bytes) & ~3u)); \
  } while (0)
#else
#define TEAL_PACKED __attribute__((packed))
#define TEAL_UNROLL
#define TEAL_COPY(to, from, bytes) __builtin_memcpy((to), (from), (bytes)) /* bytes: a constant, even */
#define TEAL_LOAD(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define TEAL_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define TEAL_CAS(p, from, to) (__sync_bool_compare_and_swap((p), (from), (to)))
#define TEAL_OR(p, bits) ((void)__atomic_fetch_or((p), (bits), __ATOMIC_SEQ_CST))
#define TEAL_COUNT(p) ((void)++*(p)) /* a worker has counters of its own */
#endif

#endif
