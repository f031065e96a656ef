/* Single bits of 64-bit words, and ranges of them. */
#ifndef KLINGMASK_BITS_H
#define KLINGMASK_BITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { KM_WORD = 64 }; /* bits */

/* Words that hold one bit for each of n pixels. */
static inline size_t km_words(uint64_t pixels)
{
    return (size_t)(pixels / KM_WORD + (pixels % KM_WORD != 0));
}

static inline unsigned km_count_ones(uint64_t word)
{
#if defined(__POPCNT__) || defined(__aarch64__)
    return (unsigned)__builtin_popcountll(word);
#else
    unsigned n = 0; /* without the instruction, and most bits are 0: faster than a function call */
    for (; word; word &= word - 1)
        n++;
    return n;
#endif
}

/* The index of the lowest bit that is set; the word is not 0. */
static inline unsigned km_lowest_one(uint64_t word)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(word);
#else
    unsigned n = 0;
    for (; !(word & 1); word >>= 1)
        n++;
    return n;
#endif
}

/* How many bits a number takes, up to the highest that is set; it is not 0. */
static inline unsigned km_bit_length(uint64_t number)
{
#if defined(__GNUC__)
    return KM_WORD - (unsigned)__builtin_clzll(number);
#else
    unsigned n = 0;
    for (; number; number >>= 1)
        n++;
    return n;
#endif
}

/* Writes the bytes of a word, the lowest first. */
static inline void km_store_bytes(uint64_t word, void *memory)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(memory, &word, sizeof word);
#else
    for (unsigned i = 0; i < sizeof word; i++)
        ((unsigned char *)memory)[i] = (unsigned char)(word >> (8 * i));
#endif
}

/* Reads the bytes of a word, the lowest first. */
static inline uint64_t km_load_bytes(const void *memory)
{
    uint64_t word = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&word, memory, sizeof word);
#else
    for (unsigned i = 0; i < sizeof word; i++)
        word |= (uint64_t)((const unsigned char *)memory)[i] << (8 * i);
#endif
    return word;
}

/* Sets the bits from..to - 1, from < to, of words of which each is `apart` words behind the one
 * before (1 if they are neighbours). There is no branch on whether the range ends in the word that
 * it starts in: for short ranges that is hard to predict. */
static inline void km_set_range(uint64_t *words, size_t apart, uint64_t from, uint64_t to)
{
    size_t first = (size_t)(from / KM_WORD) * apart, last = (size_t)((to - 1) / KM_WORD) * apart;
    uint64_t head = ~UINT64_C(0) << from % KM_WORD, tail = ~UINT64_C(0) >> (0 - to) % KM_WORD;
    uint64_t several = first == last ? 0 : ~UINT64_C(0);
    words[first] |= head & (tail | several);
    for (size_t i = first + apart; i < last; i += apart)
        words[i] = ~UINT64_C(0);
    words[last] |= tail & (head | several);
}

/* A word with the bits from..to - 1 set; 0 <= from < to <= 64. */
static inline uint64_t km_range(unsigned from, unsigned to)
{
    return (~UINT64_C(0) >> (KM_WORD - (to - from))) << from;
}

#endif
