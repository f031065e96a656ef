/* Counts text: written and read back, damaged at random, and malformed in known ways. */
#include "harness.h"

bool read_one(const char *text, size_t length, const km_mask *size, bool strict, uint32_t **runs,
              km_mask *mask, km_failure *failure)
{
    char *exact = room(length, 1);
    if (length)
        memcpy(exact, text, length);
    km_rle rle = {length ? exact : "", NULL, length, size->height, size->width};
    *runs = room(km_read_capacity(&rle) + KM_READ_SLACK, sizeof **runs);
    uint64_t area;
    bool fine = km_read(&rle, strict, *runs, mask, &area, failure);
    if (fine) {
        CHECK(mask->runs == *runs);
        CHECK(mask->n_runs <= km_read_capacity(&rle));
        CHECK(area == km_area(mask));
    }
    free(exact);
    return fine;
}

void check_counts(const sample *s)
{
    char *text = room(km_format_capacity(s->mask.n_runs), 1);
    size_t length = km_format(s->mask.runs, s->mask.n_runs, text);
    CHECK(length <= km_format_capacity(s->mask.n_runs));
    km_mask mask;
    km_failure failure;
    uint32_t *runs;
    CHECK(read_one(text, length, &s->mask, true, &runs, &mask, &failure));
    check_runs(mask.runs, mask.n_runs, &s->mask);
    free(runs);
    for (unsigned i = 0; i < 8 && length; i++) {
        char *damaged = room(length, 1);
        memcpy(damaged, text, length);
        size_t cut = below(4) ? length : below((uint32_t)length);
        for (uint32_t hits = below(3); hits > 0; hits--)
            damaged[below((uint32_t)length)] = (char)(below(8) ? 48 + below(64) : below(256));
        for (unsigned strict = 0; strict < 2; strict++) {
            if (read_one(damaged, cut, &s->mask, strict, &runs, &mask, &failure)) {
                check_canonical(&mask);
            } else {
                CHECK(failure.fault != KM_OK && failure.index == 0);
                CHECK(failure.position <= cut);
            }
            free(runs);
        }
        free(damaged);
    }
    free(text);
}

static void expect_fault(const char *text, uint32_t height, uint32_t width, km_fault fault,
                         size_t position)
{
    km_mask size = {NULL, 0, height, width}, mask;
    km_failure failure;
    uint32_t *runs;
    CHECK(!read_one(text, strlen(text), &size, true, &runs, &mask, &failure));
    CHECK(failure.fault == fault);
    CHECK(failure.position == position);
    free(runs);
}

void check_faults(void)
{
    expect_fault("!", 1, 1, KM_BAD_CHARACTER, 0);
    expect_fault("1\x7f", 1, 1, KM_BAD_CHARACTER, 1);
    expect_fault("1p", 1, 1, KM_BAD_CHARACTER, 1);
    expect_fault("1P", 1, 1, KM_CUT_CODE, 1);
    expect_fault("1P0", 2, 2, KM_LONG_CODE, 1);       /* 0 with a group to spare */
    expect_fault("1PPPPPPP0", 2, 2, KM_LONG_CODE, 1); /* beyond any 32-bit run */
    expect_fault("O", 2, 2, KM_NEGATIVE_RUN, 0);      /* -1 */
    expect_fault("111M", 9, 9, KM_NEGATIVE_RUN, 3);   /* 1 - 3 */
    expect_fault("14", 2, 2, KM_OVERSHOOT, 1);
    expect_fault("PPPPPP2", 65535, 65535, KM_SHORT, 7); /* one run of 2**31 */
    expect_fault("", 2, 2, KM_SHORT, 0);
    expect_fault("11", 2, 2, KM_SHORT, 2);
}

/* Faults at each place of the vectors that read, and runs too large for their lanes. */
void check_faults_in_vectors(void)
{
    enum { CODES = 70, MANY = 512 };
    char text[3 * 7 + 64 + MANY + 1]; /* room for km_format of three runs, and MANY codes */
    for (size_t place = 3; place < CODES; place++) {
        memset(text, '1', 3);
        memset(text + 3, '0', CODES - 3);
        text[CODES] = 0;
        text[place] = 'p';
        expect_fault(text, 70, 70, KM_BAD_CHARACTER, place);
        text[place] = 'P'; /* joins the next code, which is longer than it need be then */
        if (place + 1 < CODES)
            expect_fault(text, 70, 70, KM_LONG_CODE, place);
    }
    /* Runs that add up to 2**32 and more. */
    uint32_t runs[3] = {1 << 27, 1 << 27, 1 << 27};
    size_t length = km_format(runs, 3, text);
    memset(text + length, '0', MANY);
    text[length + MANY] = 0;
    expect_fault(text, 3 << 13, 1 << 14, KM_OVERSHOOT, length);
    /* A run of 2**32 - 200, and a difference of 205 (']6') to it. In 32 bits the sum is 5, with
     * which the runs would add up to the image. */
    uint32_t far[3] = {50, UINT32_MAX - 199, 1};
    length = km_format(far, 3, text);
    memcpy(text + length, "]6^4", 5);
    expect_fault(text, 65535, 65537, KM_OVERSHOOT, length);
}
