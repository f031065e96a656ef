/* Shared by the tests of the core. They run under the sanitizers, and each buffer has exactly the
 * size that klingmask.h asks for: so an access past the end is found. */
#ifndef HARNESS_H
#define HARNESS_H

#include "bits.h"
#include "klingmask.h"
#include "simd/simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counts at one level: checks that held, and how often each internal algorithm was chosen. */
typedef struct {
    unsigned long checks;
    unsigned long iou_by_bits, iou_by_spans, iou_by_index;
    unsigned long set_runs; /* calls of the kernel */
} test_tally;

extern test_tally done;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        done.checks++;                                                                             \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- samples.c ---- */

/* A random number below n, the same in each run of the tests. */
uint32_t below(uint32_t n);

/* Memory for n items; of 0 bytes, none may be touched. */
void *room(size_t n, size_t item);

/* A mask that owns its runs, and its pixels in column-major order. */
typedef struct {
    km_mask mask;
    uint32_t *runs;
    uint8_t *pixels;
} sample;

sample random_sample(uint32_t height, uint32_t width);
void discard(sample *s);

/* A pixel of a sample: background outside its image. */
bool pixel_of(const sample *s, int64_t x, int64_t y);

/* Draws over n pixels: a few dots on background, or a few holes in foreground. */
void draw_dots(uint8_t *pixels, size_t n, bool holes);

/* Draws over n pixels: noise, of which an eighth is background. */
void draw_noise(uint8_t *pixels, size_t n);

/* The runs of n column-major pixels, found one pixel after the other. Returns how many there are;
 * there is room for n + 1. */
size_t reference_runs(const uint8_t *pixels, size_t n, uint32_t *runs);

/* The runs of a sample, after its pixels were changed. */
void find_runs(sample *s);

void check_runs(const uint32_t *runs, size_t n, const km_mask *expected);
void check_canonical(const km_mask *mask);

/* For a km_watch: counts how often it is asked, and stops. */
bool stop_at_once(void *asked);

/* ---- the tests ---- */

/* test_raster.c */
void check_raster(const sample *s);
void check_borders_of_blocks(void);

/* test_counts.c */
void check_counts(const sample *s);
void check_faults(void);
void check_faults_in_vectors(void);

/* Reads a text from memory of its length. The runs are the caller's to free. */
bool read_one(const char *text, size_t length, const km_mask *size, bool strict, uint32_t **runs,
              km_mask *mask, km_failure *failure);

/* test_measure.c */
void check_measures(const sample *s);
void check_measures_of_texts(const km_mask *masks, size_t n);

/* test_setops.c */
void check_pair(const sample *a, const sample *b);
void check_many(uint32_t height, uint32_t width, size_t n);
void check_lopsided(void);
void check_single_pixels(void);
void count_calls_of_set_runs(void);

/* test_iou.c */
void check_iou(const sample *a, const sample *b);
void check_iou_by_index(void);

/* test_transform.c */
void check_transforms(const sample *s);

/* test_batch.c */
void check_batch(uint32_t height, uint32_t width, size_t n);

/* test_blend.c */
void check_blend(const sample *a, const sample *b);
void check_render(const sample *s);

/* test_votes.c */
void check_plurality(uint32_t height, uint32_t width, size_t n);

/* test_huge.c */
void check_huge(void);

#endif
