/* Set algebra on canonical runs, without pixels. Two masks are merged run by run. More than two are
 * combined as column-major bits where that is faster. */
#include "bits.h"
#include "klingmask.h"
#include "runs.h"
#include "simd/simd.h"

#include <string.h>

size_t km_combine(km_operation operation, const km_mask *a, const km_mask *b, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    size_t i = 0, j = 0; /* the current runs: foreground at odd indices */
    uint32_t left_a = a->runs[0], left_b = b->runs[0];
    for (;;) {
        uint32_t length = left_a < left_b ? left_a : left_b;
        unsigned row = (unsigned)(2 * (i & 1) + (j & 1));
        km_write(&writer, ((unsigned)operation >> row) & 1, length);
        left_a -= length;
        left_b -= length;
        if (left_a == 0) {
            if (++i == a->n_runs)
                break; /* b ends here, too: both cover the image */
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

/* Combines masks in pairs, then the results in pairs, and so on, as merge sort does: a run takes
 * part in log n merges instead of n. `folds` has room for n masks, `other` for all runs. */
static size_t combine_by_merging(km_operation operation, const km_mask *masks, size_t n,
                                 uint32_t *runs, km_mask *folds, uint32_t *other, km_watch *watch)
{
    uint32_t *merged = runs;
    const km_mask *level = masks;
    while (n > 1) {
        uint32_t *next = merged;
        size_t n_folds = 0;
        for (size_t i = 0; i < n; i += 2) {
            km_mask fold = level[i];
            if (i + 1 < n)
                fold.n_runs = km_combine(operation, &level[i], &level[i + 1], next);
            else
                memcpy(next, level[i].runs, level[i].n_runs * sizeof *next);
            fold.runs = next;
            next += fold.n_runs;
            if (km_stopped(watch, fold.n_runs))
                return 0;
            folds[n_folds++] = fold; /* overwrites entry i / 2 of the level, which has been read */
        }
        level = folds;
        n = n_folds;
        uint32_t *swap = merged;
        merged = other;
        other = swap;
    }
    if (level[0].runs != runs)
        memcpy(runs, level[0].runs, level[0].n_runs * sizeof *runs);
    return level[0].n_runs;
}

/* The pixels from..to - 1, in column-major order, that can differ from background. */
typedef struct {
    uint64_t from, to;
} km_extent;

/* From the first pixel of foreground to the last. */
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

/* ORs the foreground (or, without `foreground`, the background) of all masks into `bits`. Bit 0 is
 * pixel extent.from; bits past the extent are set. Full words at both ends are skipped for the
 * masks that follow: if masks have little in common, their backgrounds soon fill all words. Returns
 * false if it was stopped. */
static bool unite_bits(const km_mask *masks, size_t n, bool foreground, km_extent extent,
                       uint64_t *bits, km_watch *watch)
{
    const uint64_t full = ~UINT64_C(0);
    size_t low = 0, high = km_words(extent.to - extent.from);
    unsigned tail = (extent.to - extent.from) % KM_WORD;
    memset(bits, 0, high * sizeof *bits);
    if (tail > 0)
        bits[high - 1] = km_range(tail, KM_WORD);
    for (size_t i = 0; i < n && low < high; i++) {
        const uint32_t *own = masks[i].runs;
        size_t skip = foreground; /* the first run is background */
        km_simd.set_runs(own + skip, masks[i].n_runs - skip, foreground ? own[0] : 0,
                         extent.from + low * KM_WORD, extent.from + high * KM_WORD, bits + low);
        while (low < high && bits[low] == full)
            low++;
        while (low < high && bits[high - 1] == full)
            high--;
        if (km_stopped(watch, masks[i].n_runs + (high - low)))
            return false;
    }
    return true;
}

/* Union: OR of the foregrounds. Intersection: complement of the OR of the backgrounds. The bits
 * start at scratch[1]; the word before them is background, as all pixels outside the extent are. */
static size_t combine_by_bits(km_operation operation, const km_mask *masks, size_t n,
                              uint32_t *runs, uint64_t *scratch, km_watch *watch)
{
    bool uniting = operation == KM_UNION;
    km_extent extent = uniting ? extent_of_union(masks, n) : extent_of_intersection(masks, n);
    uint64_t *bits = scratch + 1, background = uniting ? 0 : ~UINT64_C(0);
    size_t words = km_words(extent.to - extent.from);
    uint32_t *next = runs, end = 0;
    if (!unite_bits(masks, n, uniting, extent, bits, watch))
        return 0;
    bits[-1] = background;
    for (size_t i = 0; i < words; i += KM_LIST_WORDS) {
        km_changes listed[KM_LIST_WORDS];
        km_tally tally = {0, 0};
        size_t some = words - i < KM_LIST_WORDS ? words - i : KM_LIST_WORDS;
        uint32_t first = (uint32_t)(extent.from + i * KM_WORD);
        size_t found = km_simd.list_line(bits + i, some, first, listed, &tally);
        next = km_write_runs(listed, found, km_is_dense(tally), &end, next);
    }
    /* If the last bit is foreground, no change follows that would end its run: it is added here. */
    if ((bits[(ptrdiff_t)words - 1] ^ background) >> (KM_WORD - 1)) {
        *next++ = (uint32_t)extent.to - end;
        end = (uint32_t)extent.to;
    }
    if (end < km_pixels(masks) || next == runs)
        *next++ = (uint32_t)km_pixels(masks) - end;
    return (size_t)(next - runs);
}

/* Words of bits to use, or 0 to merge runs. With bits, each word of the extent is read once, and
 * each mask may write each word of its own extent. So they are used if there are at most 8 words to
 * read and 64 to write for each run of all masks. */
static size_t words_worth_it(const km_mask *masks, size_t n)
{
    enum { MAX_READ_A_RUN = 8, MAX_SET_A_RUN = 64 }; /* words per run */
    km_extent all = extent_of_union(masks, n);
    uint64_t words = km_words(all.to - all.from), set = 0, total = km_total_runs(masks, n);
    for (size_t i = 0; i < n; i++) {
        km_extent own = extent_of(&masks[i]);
        set += km_words(own.to - own.from);
    }
    return n > 2 && words <= MAX_READ_A_RUN * total && set <= MAX_SET_A_RUN * total ? (size_t)words
                                                                                    : 0;
}

size_t km_combine_all_scratch(const km_mask *masks, size_t n)
{
    size_t words = words_worth_it(masks, n);
    if (words > 0)
        return 1 + words + KM_VECTOR_WORDS; /* kernels read and write past the bits */
    return (n * sizeof(km_mask) + km_total_runs(masks, n) * sizeof(uint32_t)) / sizeof(uint64_t) +
           1;
}

size_t km_combine_all(km_operation operation, const km_mask *masks, size_t n, uint32_t *runs,
                      uint64_t *scratch, km_watch *watch)
{
    if (words_worth_it(masks, n) > 0)
        return combine_by_bits(operation, masks, n, runs, scratch, watch);
    km_mask *folds = (km_mask *)scratch;
    return combine_by_merging(operation, masks, n, runs, folds, (uint32_t *)(folds + n), watch);
}

size_t km_complement(const km_mask *mask, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    for (size_t i = 0; i < mask->n_runs; i++)
        km_write(&writer, (i & 1) ^ 1, mask->runs[i]);
    return writer.n;
}
