/* Set algebra on runs: masks in, canonical runs out, no pixel touched. */
#include "bits.h"
#include "klingmask.h"
#include "runs.h"
#include "simd/simd.h"

#include <string.h>

size_t km_combine(km_operation operation, const km_mask *a, const km_mask *b, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    size_t i = 0, j = 0; /* the current runs; odd ones are foreground */
    uint32_t left_a = a->runs[0], left_b = b->runs[0];
    for (;;) {
        uint32_t length = left_a < left_b ? left_a : left_b;
        unsigned row = (unsigned)(2 * (i & 1) + (j & 1));
        km_write(&writer, ((unsigned)operation >> row) & 1, length);
        left_a -= length;
        left_b -= length;
        if (left_a == 0) {
            if (++i == a->n_runs)
                break; /* so has b: both cover the image */
            left_a = a->runs[i];
        }
        if (left_b == 0) {
            if (++j == b->n_runs)
                break;
            left_b = b->runs[j];
        }
    }
    return writer.n;
}

/* Neighbours are combined pair by pair, then the results, as a merge sort
 * does: a run takes part in log n merges, not in n. `folds` has room for n
 * masks, `other` for all runs. */
static size_t combine_by_merging(km_operation operation, const km_mask *masks, size_t n,
                                 uint32_t *runs, km_mask *folds, uint32_t *other)
{
    uint32_t *target = runs;
    const km_mask *level = masks;
    while (n > 1) {
        uint32_t *next = target;
        size_t n_folds = 0;
        for (size_t i = 0; i < n; i += 2) {
            km_mask fold = level[i];
            if (i + 1 < n)
                fold.n_runs = km_combine(operation, &level[i], &level[i + 1], next);
            else
                memcpy(next, level[i].runs, level[i].n_runs * sizeof *next);
            fold.runs = next;
            next += fold.n_runs;
            folds[n_folds++] = fold; /* entry i / 2: behind what is still to be read */
        }
        level = folds;
        n = n_folds;
        uint32_t *swap = target;
        target = other;
        other = swap;
    }
    if (level[0].runs != runs)
        memcpy(runs, level[0].runs, level[0].n_runs * sizeof *runs);
    return level[0].n_runs;
}

/* The pixels, in column-major order, outside which nothing has to be looked at. */
typedef struct {
    uint64_t from, to;
} km_extent;

static km_extent extent_of(const km_mask *mask)
{
    if (mask->n_runs < 2)
        return (km_extent){0, 0};
    uint64_t tail = mask->n_runs % 2 ? mask->runs[mask->n_runs - 1] : 0;
    return (km_extent){mask->runs[0], km_pixels(mask) - tail};
}

static km_extent extent_of_union(const km_mask *masks, size_t n)
{
    km_extent all = {UINT64_MAX, 0};
    for (size_t i = 0; i < n; i++) {
        km_extent one = extent_of(&masks[i]);
        if (one.from == one.to)
            continue;
        all.from = one.from < all.from ? one.from : all.from;
        all.to = one.to > all.to ? one.to : all.to;
    }
    return all.to ? all : (km_extent){0, 0};
}

static km_extent extent_of_intersection(const km_mask *masks, size_t n)
{
    km_extent shared = {0, UINT64_MAX};
    for (size_t i = 0; i < n; i++) {
        km_extent one = extent_of(&masks[i]);
        shared.from = one.from > shared.from ? one.from : shared.from;
        shared.to = one.to < shared.to ? one.to : shared.to;
    }
    return shared.from < shared.to ? shared : (km_extent){0, 0};
}

/* Sets the bits, of which the first is for the first pixel of the extent, that are foreground of
 * some mask, or background of some, and those past the extent; clears the others. Words that are
 * full change no more: they are left out from both ends, and soon that is all of them if the masks
 * have nothing in common. */
static void unite_bits(const km_mask *masks, size_t n, bool foreground, km_extent extent,
                       uint64_t *bits)
{
    const uint64_t full = ~UINT64_C(0);
    size_t low = 0, high = km_words(extent.to - extent.from);
    unsigned tail = (extent.to - extent.from) % KM_WORD;
    memset(bits, 0, high * sizeof *bits);
    if (tail > 0)
        bits[high - 1] = km_range(tail, KM_WORD);
    for (size_t i = 0; i < n && low < high; i++) {
        const uint32_t *own = masks[i].runs;
        size_t skip = foreground; /* a run of background */
        km_simd.set_runs(own + skip, masks[i].n_runs - skip, foreground ? own[0] : 0,
                         extent.from + low * KM_WORD, extent.from + high * KM_WORD, bits + low);
        while (low < high && bits[low] == full)
            low++;
        while (low < high && bits[high - 1] == full)
            high--;
    }
}

/* A union is what the foreground of some mask takes up, an intersection what no mask's background
 * does. The bits from scratch[1] on begin with the extent, outside which there is background. */
static size_t combine_by_bits(km_operation operation, const km_mask *masks, size_t n,
                              uint32_t *runs, uint64_t *scratch)
{
    bool uniting = operation == KM_UNION;
    km_extent extent = uniting ? extent_of_union(masks, n) : extent_of_intersection(masks, n);
    uint64_t *bits = scratch + 1, background = uniting ? 0 : ~UINT64_C(0);
    size_t words = km_words(extent.to - extent.from);
    uint32_t *next = runs, end = 0;
    unite_bits(masks, n, uniting, extent, bits);
    bits[-1] = background;
    for (size_t i = 0; i < words; i += KM_LISTED) {
        km_changes listed[KM_LISTED];
        km_tally tally = {0, 0};
        size_t some = words - i < KM_LISTED ? words - i : KM_LISTED;
        uint32_t first = (uint32_t)(extent.from + i * KM_WORD);
        size_t found = km_simd.list_line(bits + i, some, first, listed, &tally);
        next = km_write_runs(listed, found, km_is_dense(tally), &end, next);
    }
    /* Where the extent ends with foreground, so do the bits, and no change shows it. */
    if ((bits[(ptrdiff_t)words - 1] ^ background) >> (KM_WORD - 1)) {
        *next++ = (uint32_t)extent.to - end;
        end = (uint32_t)extent.to;
    }
    if (end < km_pixels(masks) || next == runs)
        *next++ = (uint32_t)km_pixels(masks) - end;
    return (size_t)(next - runs);
}

/* How many words of bits are worth it, or 0. They are set and read by the word, runs merged one by
 * one; but a few runs in a large image are too many words to read, and many masks of a few runs
 * beside one of many too many to set. */
static size_t words_worth_it(const km_mask *masks, size_t n)
{
    enum { READ = 8, SET = 64 }; /* words for a run */
    km_extent all = extent_of_union(masks, n);
    uint64_t words = km_words(all.to - all.from), set = 0, total = km_total_runs(masks, n);
    for (size_t i = 0; i < n; i++) {
        km_extent own = extent_of(&masks[i]);
        set += km_words(own.to - own.from);
    }
    return n > 2 && words <= READ * total && set <= SET * total ? (size_t)words : 0;
}

size_t km_combine_all_scratch(const km_mask *masks, size_t n)
{
    size_t words = words_worth_it(masks, n);
    if (words > 0)
        return 1 + words + KM_VECTOR_WORDS; /* for what vectors look at too */
    return (n * sizeof(km_mask) + km_total_runs(masks, n) * sizeof(uint32_t)) / sizeof(uint64_t) +
           1;
}

size_t km_combine_all(km_operation operation, const km_mask *masks, size_t n, uint32_t *runs,
                      uint64_t *scratch)
{
    if (words_worth_it(masks, n) > 0)
        return combine_by_bits(operation, masks, n, runs, scratch);
    km_mask *folds = (km_mask *)scratch;
    return combine_by_merging(operation, masks, n, runs, folds, (uint32_t *)(folds + n));
}

size_t km_complement(const km_mask *mask, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    for (size_t i = 0; i < mask->n_runs; i++)
        km_write(&writer, (i & 1) ^ 1, mask->runs[i]);
    return writer.n;
}
