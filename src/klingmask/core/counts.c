/* counts text <-> runs, with the exact place of any error.
 *
 * The text is that of the COCO data set: one code a run, without separators. A code is a number in
 * groups of five bits, the lowest first, one a character. A character is 48 + group, plus 32 if
 * another follows in the code. The top bit of the last group is the sign. From the fourth run on,
 * the number is the difference to the run two before.
 */
#include "codes.h"
#include "klingmask.h"
#include "runs.h"
#include "simd/simd.h"

static bool fail(km_failure *failure, km_fault fault, size_t position, int64_t value)
{
    *failure = (km_failure){fault, 0, position, value};
    return false;
}

/* Runs so far. */
typedef struct {
    km_writer writer;
    uint64_t sums[2]; /* pixels of background, and of foreground */
} km_reader;

static inline km_reader reader_start(uint32_t *runs)
{
    return (km_reader){km_writer_start(runs), {0, 0}};
}

static inline uint64_t pixels_read(const km_reader *reader)
{
    return reader->sums[0] + reader->sums[1];
}

static inline void add_run(km_reader *reader, unsigned foreground, uint32_t run)
{
    km_write(&reader->writer, foreground, run);
    reader->sums[foreground] += run;
}

/* If the runs fall short of the image: fails (strict), or adds the missing pixels as background. */
static bool finish(const km_rle *rle, bool strict, km_reader *reader, km_failure *failure)
{
    uint64_t pixels = (uint64_t)rle->height * rle->width, sum = pixels_read(reader);
    if (sum < pixels) {
        if (strict)
            return fail(failure, KM_SHORT, rle->length, (int64_t)sum);
        add_run(reader, 0, (uint32_t)(pixels - sum));
    }
    return true;
}

/* ---- one code ---- */

/* A number, and how many groups its code has; 0 groups if there is no code. */
typedef struct {
    int64_t number;
    unsigned groups;
} km_code;

static const km_code no_code = {0, 0};

/* Whether a number fits in `groups` groups. */
static inline bool fits(int64_t number, unsigned groups)
{
    uint64_t sign = ~((uint64_t)number >> 63) + 1;
    return ((uint64_t)number ^ sign) << 1 >> (KM_GROUP_BITS * groups) == 0;
}

/* Reads a code without a loop: the branch at the loop's end would be mispredicted. Needs 8 readable
 * characters at `at`. Returns no_code if read_code_by_loop must decide. */
static inline km_code read_code_at_once(const char *at)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    /* A character below KM_OFFSET borrows from those after it, but sets bit 7 of its own byte: the
     * code is refused below, or ends before that character. */
    uint64_t groups = km_load_bytes(at) - each * KM_OFFSET;
    uint64_t last = ~groups & each * KM_MORE;
    if (last == 0)
        return no_code;
    unsigned n = km_lowest_one(last) / 8 + 1;
    groups &= km_range(0, 8 * n);
    if (n > KM_MAX_GROUPS || (groups & each * (0xff & ~(KM_MORE | KM_GROUP))))
        return no_code;
    /* Joins groups of 5 bits to 10, then 20, then 40 bits. */
    groups &= each * KM_GROUP;
    groups = (groups & UINT64_C(0x001f001f001f001f)) | (groups & UINT64_C(0x1f001f001f001f00)) >> 3;
    groups = (groups & UINT64_C(0x000003ff000003ff)) | (groups & UINT64_C(0x03ff000003ff0000)) >> 6;
    groups =
        (groups & UINT64_C(0x00000000000fffff)) | (groups & UINT64_C(0x000fffff00000000)) >> 12;
    uint64_t sign = UINT64_C(1) << (KM_GROUP_BITS * n - 1);
    return (km_code){(int64_t)((groups ^ sign) - sign), n};
}

/* Reads a code character by character. If it is not well-formed, returns no_code and fills
 * `failure`. */
static km_code read_code_by_loop(const char *text, const char *at, const char *text_end,
                                 km_failure *failure)
{
    const char *start = at;
    km_code code = no_code;
    unsigned group;
    do {
        if (at == text_end) {
            fail(failure, KM_CUT_CODE, (size_t)(start - text), 0);
            return no_code;
        }
        unsigned char character = (unsigned char)*at;
        group = (unsigned)character - KM_OFFSET;
        if (group > (KM_MORE | KM_GROUP)) {
            fail(failure, KM_BAD_CHARACTER, (size_t)(at - text), character);
            return no_code;
        }
        if (code.groups == KM_MAX_GROUPS) {
            fail(failure, KM_LONG_CODE, (size_t)(start - text), 0);
            return no_code;
        }
        code.number |= (int64_t)(group & KM_GROUP) << (KM_GROUP_BITS * code.groups++);
        at++;
    } while (group & KM_MORE);
    if (group & KM_SIGN)
        code.number -= INT64_C(1) << (KM_GROUP_BITS * code.groups);
    return code;
}

/* ---- the text ---- */

/* The read_codes kernel stops before each code of more than three characters, and starting it costs
 * more than it gains for a few runs. */
enum {
    FEW_RUNS = 4,             /* a start is in vain if it yields fewer runs than this */
    MAX_STARTS_IN_VAIN = 4,   /* after this many starts in vain in a row, */
    RUNS_BETWEEN_STARTS = 32, /* this many runs are read code by code before the next start */
};

/* Where reading stands. */
typedef struct {
    const char *at;
    size_t index;       /* of the next run */
    uint32_t before[2]; /* the runs that the next two codes are differences to, as in the text,
                           which need not be canonical; 0 for codes that hold the run itself */
    size_t start_from;  /* the kernel may be started at this run and later */
    unsigned in_vain;   /* the number of starts in vain in a row */
} text_state;

/* The kernel reads two characters before `at`, and appends its runs to the writer's. So the writer
 * must hold exactly the runs of the text so far, none merged and none left out. */
static inline bool may_start_kernel(const text_state *state, const char *text,
                                    const km_writer *writer)
{
    return state->index >= state->start_from && state->at - text >= 2 && writer->n == state->index;
}

/* Lets the read_codes kernel read as far as it can. Returns false if the text must be read again
 * from its start, code by code, to find the exact error or to accept what the kernel does not. */
static bool read_by_kernel(const km_rle *rle, text_state *state, km_reader *reader)
{
    km_writer *writer = &reader->writer;
    unsigned foreground = writer->n & 1; /* 1 if the next run is foreground */
    km_codes codes = {.text = rle->chars,
                      .at = state->at,
                      .end = rle->chars + rle->length,
                      .runs = writer->runs + writer->n,
                      .before = {state->before[0], state->before[1]}};
    km_simd.read_codes(&codes);
    writer->n = (size_t)(codes.runs - writer->runs);
    reader->sums[foreground] += codes.sums[0];
    reader->sums[!foreground] += codes.sums[1];
    if (codes.malformed || pixels_read(reader) > (uint64_t)rle->height * rle->width)
        return false;
    state->in_vain = writer->n - state->index < FEW_RUNS ? state->in_vain + 1 : 0;
    if (state->in_vain == MAX_STARTS_IN_VAIN) {
        state->in_vain = 0;
        state->start_from = writer->n + RUNS_BETWEEN_STARTS;
    }
    state->at = codes.at;
    state->index = writer->n;
    state->before[0] = state->index > 2 ? writer->runs[state->index - 2] : 0;
    state->before[1] = state->index > 1 ? writer->runs[state->index - 1] : 0;
    return true;
}

static bool read_text(const km_rle *rle, bool strict, bool kernel, km_reader *reader,
                      km_failure *failure)
{
    const char *text = rle->chars, *text_end = text + rle->length;
    uint64_t pixels = (uint64_t)rle->height * rle->width;
    text_state state = {.at = text};
    while (state.at < text_end) {
        if (kernel && may_start_kernel(&state, text, &reader->writer)) {
            if (!read_by_kernel(rle, &state, reader)) {
                *reader = reader_start(reader->writer.runs);
                return read_text(rle, strict, false, reader, failure);
            }
            if (state.at == text_end)
                break;
        }
        size_t start = (size_t)(state.at - text);
        km_code code = text_end - state.at >= 8 ? read_code_at_once(state.at) : no_code;
        if (code.groups == 0)
            code = read_code_by_loop(text, state.at, text_end, failure);
        if (code.groups == 0)
            return false;
        state.at += code.groups;
        if (strict && (code.groups > 1) & fits(code.number, code.groups - 1))
            return fail(failure, KM_LONG_CODE, start, 0);
        int64_t run = code.number + state.before[0];
        if (run < 0)
            return fail(failure, KM_NEGATIVE_RUN, start, run);
        if ((uint64_t)run > pixels - pixels_read(reader))
            return fail(failure, KM_OVERSHOOT, start, (int64_t)pixels_read(reader) + run);
        add_run(reader, state.index & 1, (uint32_t)run);
        state.before[0] = state.before[1];
        /* Codes 0 to 2 hold the run itself, later codes the difference to the run two before. So
         * no code is a difference to run 0, and the base of code 2 is 0. */
        state.before[1] = state.index > 0 ? (uint32_t)run : 0;
        state.index++;
    }
    return finish(rle, strict, reader, failure);
}

static bool read_lengths(const km_rle *rle, bool strict, km_reader *reader, km_failure *failure)
{
    uint64_t pixels = (uint64_t)rle->height * rle->width;
    for (size_t i = 0; i < rle->length; i++) {
        uint32_t run = rle->lengths[i];
        if (run > pixels - pixels_read(reader))
            return fail(failure, KM_OVERSHOOT, i, (int64_t)(pixels_read(reader) + run));
        add_run(reader, i & 1, run);
    }
    return finish(rle, strict, reader, failure);
}

bool km_read(const km_rle *rle, bool strict, uint32_t *runs, km_mask *mask, uint64_t *area,
             km_failure *failure)
{
    km_reader reader = reader_start(runs);
    /* Below 2**30 pixels, no run can wrap around in the kernel's 32 bits and so look valid. */
    bool kernel = km_simd.read_codes && (uint64_t)rle->height * rle->width < 1 << 30;
    bool fine = rle->chars ? read_text(rle, strict, kernel, &reader, failure)
                           : read_lengths(rle, strict, &reader, failure);
    *mask = (km_mask){runs, reader.writer.n, rle->height, rle->width};
    *area = reader.sums[1];
    return fine;
}

km_batch km_survey(const km_rle *rles, size_t n)
{
    km_batch batch = {0, 0, n};
    for (size_t i = n; i-- > 0;) {
        size_t capacity = km_read_capacity(&rles[i]);
        batch.total += capacity;
        batch.largest = capacity > batch.largest ? capacity : batch.largest;
        if (rles[i].height != rles->height || rles[i].width != rles->width)
            batch.same = i;
    }
    return batch;
}

bool km_read_all(const km_rle *rles, size_t n, bool strict, uint32_t *runs, size_t *n_runs,
                 km_mask *masks, km_failure *failure, km_watch *watch)
{
    uint32_t *next = runs;
    for (size_t i = 0; i < n; i++) {
        uint64_t area;
        if (!km_read(&rles[i], strict, next, &masks[i], &area, failure)) {
            failure->index = i;
            return false;
        }
        next += masks[i].n_runs;
        if (km_stopped(watch, rles[i].length)) {
            failure->fault = KM_STOPPED;
            return false;
        }
    }
    *n_runs = (size_t)(next - runs);
    return true;
}

enum { FIRST_DIFFERENCE = 3 }; /* the first run that is written as a difference */

size_t km_format(const uint32_t *runs, size_t n_runs, char *text)
{
    char *next = text;
    size_t i = 0;
    for (; i < n_runs && i < FIRST_DIFFERENCE; i++)
        next = km_write_code(runs[i], next);
    if (i < n_runs)
        next = km_simd.write_codes(runs + i, n_runs - i, next);
    return (size_t)(next - text);
}
