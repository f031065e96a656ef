/* The codec for compressed run-length masks, in plain C11.
 *
 *     counts text  <->  runs  <->  bits  <->  pixels
 *
 *     counts.c      counts text <-> runs
 *     raster.c      runs <-> pixels
 *     setops.c, transform.c, measure.c, iou.c, votes.c      runs -> runs, or numbers
 *     blend.c       runs -> colours in a picture
 *     batch.c       all of these for many masks
 *
 * Nothing here knows Python or allocates memory. The caller owns every buffer, and each function
 * says how large it has to be. The only state is the table of kernels in simd/simd.h, which is
 * filled before anything else is called. README.md explains the terms.
 *
 * Runs are uint32, go down the columns of the image and alternate between background and
 * foreground, starting with background. They are canonical if there is at least one and none but
 * the first is 0. All functions write canonical runs, and all expect them, except those that read a
 * km_rle. An image has fewer than 2**32 pixels.
 */
#ifndef KLINGMASK_H
#define KLINGMASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_MAX_PIXELS UINT32_MAX

/* One mask: canonical runs, which belong to the caller, and the size of its image. */
typedef struct {
    const uint32_t *runs;
    size_t n_runs;
    uint32_t height, width;
} km_mask;

static inline uint64_t km_pixels(const km_mask *mask)
{
    return (uint64_t)mask->height * mask->width;
}

/* ---- stopping a long call ---- */

/* A call that works on many masks asks its caller now and then whether to go on. `stop` may be
 * NULL; so may the pointer to the watch. `left` starts at KM_WATCH_WORK, or at 0 to be asked after
 * the first mask. */
typedef struct {
    bool (*stop)(void *context);
    void *context;
    uint64_t left; /* units of work until `stop` is asked again */
} km_watch;

/* Runs read, pixels written, and so on: a unit takes about a nanosecond or less, so `stop` is asked
 * every 50 ms or more often. */
enum { KM_WATCH_WORK = 1 << 25 };

/* Counts work that was done, and says whether to stop. */
static inline bool km_stopped(km_watch *watch, uint64_t work)
{
    if (!watch || !watch->stop)
        return false;
    if (work < watch->left) {
        watch->left -= work;
        return false;
    }
    watch->left = KM_WATCH_WORK;
    return watch->stop(watch->context);
}

/* ---- counts.c: counts text, or run lengths of any source, <-> canonical runs ---- */

typedef enum {
    KM_OK = 0,
    KM_BAD_CHARACTER, /* outside 48..111 */
    KM_CUT_CODE,      /* the text ends inside a code */
    KM_LONG_CODE,     /* a code with more characters than its number needs */
    KM_NEGATIVE_RUN,
    KM_OVERSHOOT, /* the runs add up to more than the image has pixels */
    KM_SHORT,     /* the runs add up to less */
    KM_STOPPED    /* nothing is wrong: the watch said to stop */
} km_fault;

/* A mask as it arrives: counts text (`chars`) or run lengths (`lengths`). The other pointer is
 * NULL. `length` is the number of characters or runs. */
typedef struct {
    const char *chars;
    const uint32_t *lengths;
    size_t length;
    uint32_t height, width;
} km_rle;

/* What is wrong with an rle, and where. */
typedef struct {
    km_fault fault;
    size_t index;    /* its index in a batch */
    size_t position; /* the character or the run at which it shows */
    int64_t value;   /* the character, the run, or the sum of the runs */
} km_failure;

/* Kernels may write up to this many runs past the last one. */
enum { KM_READ_SLACK = 32 };

/* The largest number of runs that an rle may become. */
static inline size_t km_read_capacity(const km_rle *rle)
{
    return rle->length + 2;
}

/* The memory that a batch of rles needs. */
typedef struct {
    size_t total, largest; /* capacities: their sum, and the largest */
    size_t same;           /* number of leading rles with the size of the first */
} km_batch;

km_batch km_survey(const km_rle *rles, size_t n);

/* Reads an rle into canonical runs, points `mask` at them and sets `*area`. `runs` has room for its
 * capacity and KM_READ_SLACK. Strict reading refuses codes that are longer than needed and runs
 * that fall short of the image. Otherwise missing pixels are background. If the rle is not
 * well-formed, returns false and fills `failure` (its index is 0). */
bool km_read(const km_rle *rle, bool strict, uint32_t *runs, km_mask *mask, uint64_t *area,
             km_failure *failure);

/* Reads n rles into `masks` (n), with their runs one after the other in `runs`, which has room
 * for the sum of their capacities and KM_READ_SLACK. Stops at the first failure and describes it.
 * On success `*n_runs` is the number of runs written. */
bool km_read_all(const km_rle *rles, size_t n, bool strict, uint32_t *runs, size_t *n_runs,
                 km_mask *masks, km_failure *failure, km_watch *watch);

/* Characters that the text of n runs needs: 7 a run, and 64 for vector stores past the end. */
static inline size_t km_format_capacity(size_t n_runs)
{
    return n_runs * 7 + 64;
}

/* Writes runs as text, without a 0 at the end. Returns the length of the text. */
size_t km_format(const uint32_t *runs, size_t n_runs, char *text);

/* ---- raster.c: runs <-> pixels of one byte; foreground pixels are not 0 ---- */

/* The first memory that holds all pixels of the call: L2 cache, L3 cache or main memory. It decides
 * which stores are used, since each is fastest in one of them. The result is the same. */
typedef enum { KM_TO_L2, KM_TO_L3, KM_TO_MEMORY } km_destination;

/* Column-major, contiguous. `cleared`: all pixels are 0 before the call. */
void km_decode_columns(const km_mask *mask, uint8_t value, bool cleared, km_destination destination,
                       uint8_t *pixels);

/* Row-major, `stride` bytes from row to row. `scratch` has km_decode_rows_scratch() words of 64
 * bits. */
size_t km_decode_rows_scratch(uint32_t height, uint32_t width);
void km_decode_rows(const km_mask *mask, uint8_t value, bool cleared, km_destination destination,
                    uint8_t *pixels, ptrdiff_t stride, uint64_t *scratch);

/* All 0 for an empty mask, as in the COCO data set. */
typedef struct {
    uint32_t x, y, width, height;
} km_box;

/* Draws the bits of a mask in its bounding box, row-major: a row has km_words(box.width) words of
 * 64 bits, and bit i of word j is for column 64 * j + i of the box. */
void km_draw_bits(const km_mask *mask, km_box box, uint64_t *bits);

/* Pixels are encoded in two steps, so that the caller can allocate memory for exactly the runs.
 * km_scan_* finds the changes, in a scratch of km_scan_*_scratch() words of 64 bits, and returns
 * the number of runs. km_runs_* writes that many. In between, the scratch must not be moved. */
size_t km_scan_columns_scratch(uint32_t height, uint32_t width);
size_t km_scan_columns(const uint8_t *pixels, uint32_t height, uint32_t width, uint64_t *scratch);
void km_runs_columns(const uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs);

size_t km_scan_rows_scratch(uint32_t height, uint32_t width);
size_t km_scan_rows(const uint8_t *pixels, ptrdiff_t stride, uint32_t height, uint32_t width,
                    uint64_t *scratch);
void km_runs_rows(uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs);

/* ---- setops.c: set algebra; all masks of a call have one size ---- */

/* Truth tables: bit 2 * a + b is the result for pixels a and b, which are 0 or 1. */
typedef enum {
    KM_INTERSECTION = 0x8,
    KM_DIFFERENCE = 0x4,
    KM_SYMMETRIC_DIFFERENCE = 0x6,
    KM_UNION = 0xe
} km_operation;

/* Combines two masks. `runs` has room for a->n_runs + b->n_runs. Returns the number of runs. */
size_t km_combine(km_operation operation, const km_mask *a, const km_mask *b, uint32_t *runs);

/* The KM_UNION or KM_INTERSECTION of n >= 1 masks. `runs` has room for km_total_runs(), `scratch`
 * for km_combine_all_scratch() words of 64 bits. Returns the number of runs, or 0 if it was
 * stopped. */
size_t km_combine_all_scratch(const km_mask *masks, size_t n);
size_t km_combine_all(km_operation operation, const km_mask *masks, size_t n, uint32_t *runs,
                      uint64_t *scratch, km_watch *watch);

/* The complement. `runs` has room for mask->n_runs + 1. */
size_t km_complement(const km_mask *mask, uint32_t *runs);

/* ---- votes.c: which group of masks has the most at each pixel ---- */

/* Mask i belongs to group groups[i] < n_groups < 2**31. Each pixel goes to the group with the most
 * masks that have foreground there; in a tie, to the one with the largest number. Writes the pixels
 * that each group wins to `winners` (n_groups); their runs go to `runs`. There is at least one
 * mask, and all have one size. Returns false if it was stopped. */
size_t km_plurality_capacity(const km_mask *masks, size_t n, uint32_t n_groups); /* runs */
size_t km_plurality_scratch(const km_mask *masks, size_t n, uint32_t n_groups);  /* 64-bit words */
bool km_plurality(const km_mask *masks, const uint32_t *groups, size_t n, uint32_t n_groups,
                  uint32_t *runs, km_mask *winners, uint64_t *scratch, km_watch *watch);

/* ---- transform.c: masks on another grid ---- */

/* `runs` has room for what km_*_capacity says, which may be more than there is memory for.
 * `scratch` has room for mask->n_runs numbers. */

/* The mask of a box, which lies in the image. */
uint64_t km_box_capacity(km_box box, uint32_t height);
size_t km_box_runs(km_box box, uint32_t height, uint32_t width, uint32_t *runs);

/* Only for masks of so many columns, km_shift_capacity counts the runs, which takes as long as
 * writing them. For others it takes a run more for each column, which may cut one. */
enum { KM_COUNT_FROM_COLUMNS = 4096 };

typedef enum {
    KM_FRAME,     /* the mask seen through a frame, whose top left corner is at (x, y) of the image;
                     around the image there is background */
    KM_FLIP_ROWS, /* the mask upside down */
    KM_FLIP_COLUMNS, /* the mask with left and right swapped */
    KM_RESIZE,       /* nearest neighbour, see `centers` */
    KM_COMPLEMENT
} km_transform_kind;

/* What becomes of a mask. */
typedef struct {
    km_transform_kind kind;
    int64_t x, y;          /* KM_FRAME; within 2**33 of 0 */
    int64_t height, width; /* KM_FRAME, KM_RESIZE: of the result; `added`: what the result has more
                              than the mask */
    bool added;
    bool centers; /* KM_RESIZE: pixel (x, y) shows the pixel in which its centre lies; else the one
                     in which its corner lies, (x * w / width, y * h / height) rounded down */
} km_transform;

/* The size of the result; false if it is negative or has 2**32 pixels or more. */
bool km_transform_size(const km_transform *transform, const km_mask *mask, uint32_t *height,
                       uint32_t *width);
uint64_t km_transform_capacity(const km_transform *transform, const km_mask *mask,
                               uint32_t *scratch);
size_t km_transform_mask(const km_transform *transform, const km_mask *mask, uint32_t *runs,
                         uint32_t *scratch);

/* ---- blend.c: masks over pictures of 3 or 4 channels of 8 bits ---- */

typedef struct {
    const km_mask *mask;
    uint8_t color[4]; /* red, green, blue, and 255, the alpha of an opaque pixel */
    uint8_t opacity;
    uint32_t outline; /* width of an opaque line along the edge, within the mask; 0 for none */
} km_layer;

/* Blends the layers, in order, over an image of 3 channels (RGB) or 4 (RGBA, straight alpha), with
 * `stride` bytes from row to row. `scratch` has `words` words of 64 bits, at least
 * km_blend_scratch(): a few MiB, or what the largest mask needs. Returns false if it was stopped;
 * the image is then partly blended. */
size_t km_blend_scratch(const km_layer *layers, size_t n);
bool km_blend(const km_layer *layers, size_t n, unsigned channels, uint8_t *pixels,
              ptrdiff_t stride, uint64_t *scratch, size_t words, km_watch *watch);

/* Draws a mask as a picture, row-major RGBA: the color for foreground, 0 for background. `scratch`
 * has km_render_scratch() words of 64 bits. */
size_t km_render_scratch(const km_mask *mask);
void km_render(const km_mask *mask, const uint8_t color[4], uint8_t *pixels, uint64_t *scratch);

/* ---- measure.c: measures of masks ---- */

bool km_contains(const km_mask *mask, uint32_t x, uint32_t y);

uint64_t km_area(const km_mask *mask);

/* The mean of the centres of the foreground's pixels. The centre of the first pixel of an image is
 * (0.5, 0.5). (0, 0) for an empty mask. */
void km_centroid(const km_mask *mask, double *x, double *y);

km_box km_bounds(const km_mask *mask);

/* Measures n rles: their areas, and their boxes (x, y, width, height). Either array may be NULL.
 * The rles are read strictly, one after the other, into `runs`, which has room for the largest
 * capacity and KM_READ_SLACK. Stops at the first failure and describes it, as km_read does. */
bool km_measure(const km_rle *rles, size_t n, uint32_t *runs, int64_t *areas, int64_t *boxes,
                km_failure *failure, km_watch *watch);

/* ---- iou.c: intersection over union ---- */

/* The nth span of foreground of each column, for one n. That of column left + i has the rows from
 * firsts[i] to ends[i] - 1; both are 0 if the column has no nth span. The columns from left to
 * right - 1 are listed; left and right are multiples of KM_SPAN_COLUMNS. The image has fewer than
 * 2**15 rows. */
enum { KM_SPAN_COLUMNS = 16 };
typedef struct {
    uint32_t left, right;
    uint16_t *firsts, *ends;
} km_spans;

/* A mask prepared for km_iou: area, box, and the foreground as spans or bits, if it has either. A
 * mask of many runs may have an index. iou.c describes these. */
enum { KM_MAX_SPANS = 8 };
typedef struct {
    const km_mask *mask;
    uint64_t area;
    km_box box;
    unsigned n_spans;             /* of the column with the most; 0 if spans are not used */
    km_spans spans[KM_MAX_SPANS]; /* the first spans, the second, ... */
    bool wants_bits;
    const uint64_t *bits;
    bool wants_index;
    uint32_t *ends, *areas; /* index: where each run ends, and the foreground before; or NULL */
} km_iou_mask;

/* Intersection over union of each a with each b, row-major (n_a, n_b): 0 where both masks are
 * empty. All masks have one size. It takes two steps. km_iou_prepare measures the masks into
 * `prepared` (n_a + n_b) and returns how many words of 64 bits km_iou needs as `scratch`: at most a
 * fixed multiple of the runs. If that is 0, `scratch` may be NULL. km_iou returns false if stopped.
 */
size_t km_iou_prepare(const km_mask *a, size_t n_a, const km_mask *b, size_t n_b,
                      km_iou_mask *prepared);
bool km_iou(km_iou_mask *prepared, size_t n_a, size_t n_b, uint64_t *scratch, double *iou,
            km_watch *watch);

/* ---- batch.c: loops over many masks ---- */

/* The number of leading masks with the size of the first: n if all have it. */
size_t km_count_same_size(const km_mask *masks, size_t n);

bool km_equal(const km_mask *a, const km_mask *b, size_t n);

/* The runs of all masks together. */
size_t km_total_runs(const km_mask *masks, size_t n);

/* The number of runs of the mask that has the most. */
size_t km_most_runs(const km_mask *masks, size_t n);

/* Points `masks`, whose n_runs are set, at runs that lie one after the other. */
void km_lay_out(km_mask *masks, size_t n, const uint32_t *runs);

/* Picks the masks at `indices`; each index is below the number of masks. */
void km_pick(const km_mask *masks, const int64_t *indices, size_t n, km_mask *picked);

/* Copies the masks, and their runs into `runs` (km_total_runs()), one after the other. */
void km_copy(const km_mask *masks, size_t n, km_mask *copies, uint32_t *runs);

/* A row for each mask: (height, width), area, (x, y, width, height), (x, y). They return false if
 * they were stopped. */
void km_sizes(const km_mask *masks, size_t n, int64_t *sizes);
bool km_areas(const km_mask *masks, size_t n, int64_t *areas, km_watch *watch);
bool km_boxes(const km_mask *masks, size_t n, int64_t *boxes, km_watch *watch);
bool km_centroids(const km_mask *masks, size_t n, double *centroids, km_watch *watch);

/* Images of one size, one byte a pixel. */
typedef struct {
    uint8_t *pixels;
    size_t n;
    ptrdiff_t step;   /* bytes from image to image */
    ptrdiff_t stride; /* bytes from row to row */
    bool columns;     /* column-major without gaps; else the pixels of a row lie together */
    uint32_t height, width;
} km_stack;

/* How images are painted. The size of all images of the call, in all its threads, decides whether
 * they are written past the caches. */
typedef struct {
    uint8_t value; /* of the foreground */
    bool zeroed;   /* the pixels are 0 already: outside a mask's box nothing is written, since the
                      first write to a new page is a page fault */
    uint64_t bytes;
} km_painting;

/* Paints a mask into each image. `scratch` has km_paint_scratch() words of 64 bits. Returns false
 * if it was stopped. */
size_t km_paint_scratch(const km_stack *stack);
bool km_paint(const km_painting *how, const km_mask *masks, const km_stack *stack,
              uint64_t *scratch, km_watch *watch);

/* Reads each rle just before it is painted, into `runs`, which has room for the largest capacity
 * and KM_READ_SLACK. Returns false at the first rle that is not well-formed, or if it was
 * stopped. */
bool km_paint_rles(const km_painting *how, const km_rle *rles, bool strict, const km_stack *stack,
                   uint32_t *runs, uint64_t *scratch, km_failure *failure, km_watch *watch);

/* Some calls find out on the way how much memory they need. They stop when the next mask needs more
 * room than there is, are given more, and go on where they stopped. */
typedef enum { KM_DONE, KM_NEEDS_ROOM, KM_WAS_STOPPED, KM_TOO_LARGE } km_progress;

typedef struct {
    size_t next;   /* the mask that comes next */
    size_t used;   /* runs written */
    uint64_t room; /* runs that the next mask may need; 0 if that is not known yet */
} km_position;

/* Encodes the images into `runs`, which has room for `capacity`; sets the sizes and n_runs of the
 * masks. The scratch, km_encode_scratch() words of 64 bits, is kept from call to call. */
size_t km_encode_scratch(const km_stack *stack);
km_progress km_encode(const km_stack *stack, uint64_t *scratch, km_position *position,
                      uint32_t *runs, size_t capacity, km_mask *masks, km_watch *watch);

/* Transforms each mask; sets the sizes and n_runs of `results`. KM_TOO_LARGE: the next mask would
 * have 2**32 pixels or more. `scratch` has room for km_most_runs(). */
km_progress km_transform_all(const km_transform *transform, const km_mask *masks, size_t n,
                             uint32_t *scratch, km_position *position, uint32_t *runs,
                             size_t capacity, km_mask *results, km_watch *watch);

/* Mask i of `a` and mask i of `b`; if a side has one mask, that one and each of the other side. */
typedef struct {
    const km_mask *a, *b;
    size_t n_a, n_b; /* equal, or one of them is 1 */
} km_pairs;

size_t km_count_pairs(const km_pairs *pairs);

/* The number of leading pairs whose two masks have one size: all if no pair differs. */
size_t km_count_same_size_pairs(const km_pairs *pairs);

/* Combines each pair. `runs` has room for km_runs_of_pairs(). Returns false if it was stopped. */
size_t km_runs_of_pairs(const km_pairs *pairs);
bool km_combine_pairs(km_operation operation, const km_pairs *pairs, uint32_t *runs,
                      km_mask *results, size_t *n_runs, km_watch *watch);

#endif
