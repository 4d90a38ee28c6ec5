/* Caravan: kernels that train language models, behind a C ABI.
 *
 * This header is the specification. It is plain C, the same for every build (with or without CUDA),
 * and is parsed as it stands to make the Java binding.
 *
 * Contract of every function
 *   - returns a caravan_status; on anything but CARAVAN_OK, caravan_last_error() tells this thread
 *     which op and which argument, what it got and what it needs;
 *   - the caller owns all memory; an op allocates nothing, keeps no address after its work is done,
 *     and synchronises nothing: work is ordered by the stream that it is given;
 *   - never prints, never exits, never throws.
 *
 * Contract of every op, caravan_<op>_{forward,backward,step}(stream, const caravan_<op>_..._args*)
 *   - the args struct begins with its size in bytes as the caller knows it; fields are only ever
 *     appended, and those beyond the given size are taken as zero;
 *   - every tensor is range-checked against its `bytes` before anything is touched;
 *   - values that lie in memory (ids, positions, counts, offsets) are checked by the CPU before it
 *     writes. On CUDA nobody waits for them: a value out of its range touches nothing outside the
 *     tensors, and makes what depends on it NaN, so that a check of the results finds it;
 *   - a tensor whose `data` is null is absent; only those marked "optional" may be;
 *   - "=" means the output is overwritten, "+=" that the op adds to what is there;
 *   - storage is float32 or bfloat16 where "float" is written; sums, statistics, soft-max and losses
 *     are float32 or better, whatever the storage;
 *   - deterministic: the same arguments give the same bits, whatever the number of threads (but see
 *     any_order of attention).
 *
 * Letters in shapes: T tokens (rows of a packed buffer) . D model width . F feed-forward width .
 * H query heads . K key/value heads . N head width . V vocabulary . R rows . S documents.
 */
#ifndef CARAVAN_CARAVAN_H_
#define CARAVAN_CARAVAN_H_

#include <stdint.h>

#define CARAVAN_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ version and status ---------- */

/* Raised when a signature or the meaning of a field changes; appending fields does not raise it. */
#define CARAVAN_ABI_VERSION 1

typedef enum caravan_status {
    CARAVAN_OK = 0,
    CARAVAN_INVALID_ARGUMENT = 1, /* a shape, dtype, range or pointer is not what the op needs */
    CARAVAN_OUT_OF_MEMORY = 2,
    CARAVAN_UNSUPPORTED = 3, /* well-formed, but not built for this device or this processor */
    CARAVAN_DEVICE_LOST = 4, /* the device failed; nothing on it can be trusted any more */
    CARAVAN_INTERNAL = 5
} caravan_status;

/* The ABI version this library was built with; compare with CARAVAN_ABI_VERSION. */
CARAVAN_API int32_t caravan_abi_version(void);

/* The last failure of the calling thread, "" if none. Valid until this thread's next call. */
CARAVAN_API const char* caravan_last_error(void);

/* ------------------------------------------------------------------ dtypes and tensors ---------- */

typedef enum caravan_dtype {
    CARAVAN_F32 = 0,
    CARAVAN_BF16 = 1,
    CARAVAN_I32 = 2,
    CARAVAN_I64 = 3,
    CARAVAN_F64 = 4,
    CARAVAN_U8 = 5,
    CARAVAN_U16 = 6
} caravan_dtype;

#define CARAVAN_MAX_RANK 4

/* A view of caller-owned memory. Strides are in elements; the last one must be 1. */
typedef struct caravan_tensor {
    void* data;     /* address on the device of the stream; null = absent */
    int64_t bytes;  /* how many bytes may be touched from data on */
    int32_t dtype;  /* caravan_dtype */
    int32_t rank;   /* 1 .. CARAVAN_MAX_RANK */
    int64_t shape[CARAVAN_MAX_RANK];
    int64_t stride[CARAVAN_MAX_RANK];
} caravan_tensor;

/* ------------------------------------------------------------------ devices --------------------- */

typedef enum caravan_device_kind { CARAVAN_CPU = 0, CARAVAN_CUDA = 1 } caravan_device_kind;

/* How many devices of the kind are usable. When none is, *count is 0 and caravan_last_error() says
 * why ("no NVIDIA driver", ...), while the status is still CARAVAN_OK. */
CARAVAN_API caravan_status caravan_device_count(int32_t kind, int32_t* count);

/* Name and total memory in bytes of a device. For the CPU the name ends with the instruction set that
 * the kernels use, as in "... (x86-64-v3)". name is cut to capacity, its final zero byte included. */
CARAVAN_API caravan_status caravan_device_info(int32_t kind, int32_t index, char* name,
                                               int64_t capacity, int64_t* memory_bytes);

/* The architecture of a CUDA device as major * 10 + minor (90 for Hopper); 0 for the CPU. */
CARAVAN_API caravan_status caravan_device_capability(int32_t kind, int32_t index,
                                                     int32_t* capability);

/* The matrix product that CPU ops call: BLAS cblas_sgemm, row-major (order 101), no transpose 111,
 * transpose 112. It must be safe to call from several threads at once and use one thread a call. */
typedef void (*caravan_sgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                              float alpha, const float* a, int lda, const float* b, int ldb,
                              float beta, float* c, int ldc);

/* Sets the product for the whole process. Null takes it away: ops that need one then fail. */
CARAVAN_API caravan_status caravan_set_sgemm(void* sgemm);

/* ------------------------------------------------------------------ memory ---------------------- */

/* Memory on a device, aligned to 64 bytes (CPU) or 256 bytes (CUDA). On the CPU it is zeroed. */
CARAVAN_API caravan_status caravan_malloc(int32_t kind, int32_t index, int64_t bytes, void** data);
CARAVAN_API caravan_status caravan_free(int32_t kind, int32_t index, void* data);

/* Host memory that the device copies from and to without a detour (page-locked for CUDA, where kernels
 * reach it too, slowly). Zeroed. Aligned as caravan_malloc aligns. */
CARAVAN_API caravan_status caravan_malloc_host(int32_t kind, int32_t index, int64_t bytes,
                                               void** data);
CARAVAN_API caravan_status caravan_free_host(int32_t kind, int32_t index, void* data);

/* Bytes of a device's memory that nobody holds, and all. For the CPU: what the system could give now. */
CARAVAN_API caravan_status caravan_memory_info(int32_t kind, int32_t index, int64_t* free_bytes,
                                               int64_t* total_bytes);

/* How many caravan_malloc and caravan_malloc_host calls this process made and how many bytes it holds now. */
CARAVAN_API caravan_status caravan_memory_stats(int64_t* allocations, int64_t* live_bytes);

/* ------------------------------------------------------------------ streams, events, capture ---- */

/* Work on one stream is done in order. A CPU stream runs each op before the call returns, on its own
 * pool of `threads` threads (the caller's is one of them) with CARAVAN_CPU_SCRATCH_BYTES each. */
typedef struct caravan_stream_s* caravan_stream;
typedef struct caravan_event_s* caravan_event;
typedef struct caravan_graph_s* caravan_graph;

#define CARAVAN_CPU_SCRATCH_BYTES 4194304

CARAVAN_API caravan_status caravan_stream_create(int32_t kind, int32_t index, int32_t threads,
                                                 caravan_stream* stream);
CARAVAN_API caravan_status caravan_stream_destroy(caravan_stream stream);
CARAVAN_API caravan_status caravan_stream_synchronize(caravan_stream stream);

/* The device's own handle of a stream, for a vendor's library to work on it: a cudaStream_t; null for a
 * CPU stream, which has none. */
CARAVAN_API caravan_status caravan_stream_native(caravan_stream stream, void** native);

/* Copies between any two of host and the stream's device, in stream order. */
CARAVAN_API caravan_status caravan_memcpy(caravan_stream stream, void* to, const void* from,
                                          int64_t bytes);
CARAVAN_API caravan_status caravan_memset(caravan_stream stream, void* data, int32_t byte,
                                          int64_t bytes);

CARAVAN_API caravan_status caravan_event_create(int32_t kind, int32_t index, caravan_event* event);
CARAVAN_API caravan_status caravan_event_destroy(caravan_event event);
CARAVAN_API caravan_status caravan_event_record(caravan_event event, caravan_stream stream);
CARAVAN_API caravan_status caravan_stream_wait(caravan_stream stream, caravan_event event);
/* Milliseconds between two recorded events, once both have happened. */
CARAVAN_API caravan_status caravan_event_elapsed(caravan_event from, caravan_event to,
                                                 float* milliseconds);

/* Records the ops enqueued between begin and end, to be launched as one. The CPU has no queue to
 * record: CARAVAN_UNSUPPORTED there. */
CARAVAN_API caravan_status caravan_capture_begin(caravan_stream stream);
CARAVAN_API caravan_status caravan_capture_end(caravan_stream stream, caravan_graph* graph);
CARAVAN_API caravan_status caravan_graph_launch(caravan_graph graph, caravan_stream stream);
CARAVAN_API caravan_status caravan_graph_destroy(caravan_graph graph);

/* Opens and closes a named range of the calling thread's timeline, for a profiler of the device (NVTX for
 * CUDA). Does nothing on the CPU or where no device is. */
CARAVAN_API caravan_status caravan_range_push(int32_t kind, const char* name);
CARAVAN_API caravan_status caravan_range_pop(int32_t kind);

/* ------------------------------------------------------------------ step state ------------------ */

/* What changes from one optimizer step to the next, in device memory, so that recorded work can be
 * replayed. The host writes the first block before a step; ops write the second. */
typedef struct caravan_step_state {
    int64_t step;      /* optimizer step, from 1 */
    uint64_t seed;     /* of counter-based random numbers */
    float lr;          /* learning rate of this step */
    float inv_targets; /* 1 / target tokens of the whole step, over all micro-batches and ranks */
    float clip_norm;   /* largest global gradient norm; 0 = no clipping */
    float inv_tokens;  /* 1 / input tokens of the whole step, over all micro-batches and ranks */

    double loss_sum;   /* += by cross_entropy: negative log-likelihood, nats, summed over targets */
    float grad_norm;   /* = by global_norm: before clipping */
    float clip_factor; /* = by global_norm: min(1, clip_norm / (grad_norm + 1e-6)); 1 without */
    int32_t finite;    /* = by global_norm: 1, or 0 when the norm is not a finite number */
    int32_t reserved2;
} caravan_step_state;

/* ------------------------------------------------------------------ matmul ---------------------- */

/* c = alpha * op(a) op(b) + beta * c.   op(a): [M, K], op(b): [K, N], c: [M, N].
 * a, b, c may be float32 or bfloat16 each; sums in float32. c must not overlap a or b.
 * rows (optional, i32 [1]): how many leading token rows are in use. With transpose_a = 0 it limits M:
 * rows of c beyond are set to 0 when beta is 0 and left alone otherwise; with transpose_a = 1 it
 * limits K: rows of a and b beyond are not read. Values outside 0 .. M (or K) are an error. */
typedef struct caravan_matmul_args {
    int64_t size;
    caravan_tensor a;
    caravan_tensor b;
    caravan_tensor c;
    caravan_tensor rows;
    caravan_tensor workspace; /* optional when its size is 0 */
    int32_t transpose_a;      /* 0: a is stored [M, K]; 1: stored [K, M] */
    int32_t transpose_b;      /* 0: b is stored [K, N]; 1: stored [N, K] */
    float alpha;
    float beta;
} caravan_matmul_args;

CARAVAN_API caravan_status caravan_matmul_forward(caravan_stream stream,
                                                  const caravan_matmul_args* args);
/* Workspaces follow from shapes alone: the queries need no such device to be there. */
CARAVAN_API caravan_status caravan_matmul_workspace(int32_t kind, const caravan_matmul_args* args,
                                                    int64_t* bytes);

/* ------------------------------------------------------------------ embedding ------------------- */

/* out[t] = table[ids[t]].  Each id must lie in 0 .. V-1: the CPU checks all of them before it writes.
 * With whole > 0 the table is a part, rows first .. first + V - 1 of one of `whole` rows (those past
 * it are padding): ids lie in 0 .. whole-1, and an id of another part gives a row of 0.
 *   ids [T] i32 . table [V, D] float . out [T, D] float = */
typedef struct caravan_embedding_forward_args {
    int64_t size;
    caravan_tensor ids;
    caravan_tensor table;
    caravan_tensor out;
    int64_t first; /* in 0 .. whole */
    int64_t whole; /* 0: the table is whole */
} caravan_embedding_forward_args;

/* d_table[ids[t]] += d_out[t], rows of one id added in the order of t. Of a part of a table, see
 * above, ids of other parts add nothing.
 *   ids [T] i32 . d_out [T, D] float . d_table [V, D] float += . rows optional i32 [1]: only the
 *   leading rows of d_out count . workspace optional when its size is 0 */
typedef struct caravan_embedding_backward_args {
    int64_t size;
    caravan_tensor ids;
    caravan_tensor d_out;
    caravan_tensor d_table;
    caravan_tensor rows;
    caravan_tensor workspace; /* see caravan_embedding_backward_workspace */
    int64_t first;
    int64_t whole;
} caravan_embedding_backward_args;

CARAVAN_API caravan_status caravan_embedding_forward(caravan_stream stream,
                                                     const caravan_embedding_forward_args* args);
CARAVAN_API caravan_status caravan_embedding_backward(caravan_stream stream,
                                                      const caravan_embedding_backward_args* args);
CARAVAN_API caravan_status caravan_embedding_backward_workspace(
    int32_t kind, const caravan_embedding_backward_args* args, int64_t* bytes);

/* ------------------------------------------------------------------ gather ---------------------- */

/* Rows picked by index, as the output projection needs only rows that carry a target.
 * forward:  out[i] = x[rows[first + i]] for first + i < count, other rows of out = 0
 * backward: d_x[rows[first + i]] = d_out[i] for first + i < count; other rows of d_x are left alone
 *   x, d_x [T, D] float . rows [n] i32, distinct . count i32 [1] . out, d_out [R, D] float */
typedef struct caravan_gather_args {
    int64_t size;
    caravan_tensor x;   /* forward: in; backward: d_x, out */
    caravan_tensor rows;
    caravan_tensor count;
    caravan_tensor out; /* forward: out; backward: d_out, in */
    int64_t first;
} caravan_gather_args;

CARAVAN_API caravan_status caravan_gather_forward(caravan_stream stream,
                                                  const caravan_gather_args* args);
CARAVAN_API caravan_status caravan_gather_backward(caravan_stream stream,
                                                   const caravan_gather_args* args);

/* ------------------------------------------------------------------ elementwise ----------------- */

/* out = a + b, any equal shapes, float. out may be a or b. */
typedef struct caravan_add_args {
    int64_t size;
    caravan_tensor a;
    caravan_tensor b;
    caravan_tensor out;
} caravan_add_args;

CARAVAN_API caravan_status caravan_add_forward(caravan_stream stream, const caravan_add_args* args);

/* out = x rounded to out's dtype (nearest even), between float32 and bfloat16. */
typedef struct caravan_cast_args {
    int64_t size;
    caravan_tensor x;
    caravan_tensor out;
} caravan_cast_args;

CARAVAN_API caravan_status caravan_cast_forward(caravan_stream stream,
                                                const caravan_cast_args* args);

/* forward:  y[r, :] = x[r, :] + bias     backward: d_bias += sum over r of d_y[r, :]
 *   x, y [R, D] float, y may be x . bias [D] float */
typedef struct caravan_bias_forward_args {
    int64_t size;
    caravan_tensor x;
    caravan_tensor bias;
    caravan_tensor y;
} caravan_bias_forward_args;

typedef struct caravan_bias_backward_args {
    int64_t size;
    caravan_tensor d_y;
    caravan_tensor d_bias;    /* [D] float += */
    caravan_tensor workspace; /* see caravan_bias_backward_workspace */
} caravan_bias_backward_args;

CARAVAN_API caravan_status caravan_bias_forward(caravan_stream stream,
                                                const caravan_bias_forward_args* args);
CARAVAN_API caravan_status caravan_bias_backward(caravan_stream stream,
                                                 const caravan_bias_backward_args* args);
CARAVAN_API caravan_status caravan_bias_backward_workspace(int32_t kind,
                                                           const caravan_bias_backward_args* args,
                                                           int64_t* bytes);

/* ------------------------------------------------------------------ row_dot --------------------- */

/* out[r] = sum over i of a[r, i] * b[r, i] (* (weight_offset + weight[i]) where a weight is given).
 * Rows that are cut among devices have the sum of their parts': what an rmsnorm of them needs to know.
 *   a, b [R, D] float, may be one . weight optional [D] float . out [R] f32 = */
typedef struct caravan_row_dot_args {
    int64_t size;
    caravan_tensor a;
    caravan_tensor b;
    caravan_tensor weight;
    caravan_tensor out;
    float weight_offset;
} caravan_row_dot_args;

CARAVAN_API caravan_status caravan_row_dot_forward(caravan_stream stream,
                                                   const caravan_row_dot_args* args);

/* ------------------------------------------------------------------ rmsnorm --------------------- */

/* h = x + residual (or x);  y = h * rstd * (weight_offset + weight),  rstd = 1/sqrt(mean(h^2) + eps).
 * Source: Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4. Per-head use: rows are (token, head).
 * With whole > 0 x is a part, D columns of rows of `whole`, over which the mean is: squares has the sum
 * of h^2 over each whole row (row_dot of x with itself, added up over the parts).
 *   x [R, D] float . residual optional [R, D] float . weight [D] float
 *   y [R, D] float = . sum [R, D] float =, needed with residual: receives h, may be x or residual
 *   rstd [R] f32 = optional (a backward needs it) . squares [R] f32, with whole > 0, without residual */
typedef struct caravan_rmsnorm_forward_args {
    int64_t size;
    caravan_tensor x;
    caravan_tensor residual;
    caravan_tensor weight;
    caravan_tensor y;
    caravan_tensor sum;
    caravan_tensor rstd;
    float eps;
    float weight_offset; /* 0, or 1 where the checkpoint stores weight - 1 */
    caravan_tensor squares;
    int64_t whole; /* 0: rows are whole */
} caravan_rmsnorm_forward_args;

/* With g = d_y * (weight_offset + weight) and n = h * rstd:
 *   d_x = rstd * (g - n * mean(g * n)) (+ d_sum where given);  d_weight += sum over r of d_y * n
 * With whole > 0, see above, dots has the sum of g * h over each whole row (row_dot of d_y and x with
 * the weight, added up over the parts), and the mean is over `whole`.
 *   d_y, x [R, D] float (x: what was normalised, h) . weight [D] . rstd [R] f32
 *   d_sum optional [R, D] float: gradient that reaches h by its other uses, may be d_x
 *   d_x [R, D] float = . d_weight [D] float += . dots [R] f32, with whole > 0 */
typedef struct caravan_rmsnorm_backward_args {
    int64_t size;
    caravan_tensor d_y;
    caravan_tensor x;
    caravan_tensor weight;
    caravan_tensor rstd;
    caravan_tensor d_sum;
    caravan_tensor d_x;
    caravan_tensor d_weight;
    caravan_tensor workspace;
    float weight_offset;
    caravan_tensor dots;
    int64_t whole;
} caravan_rmsnorm_backward_args;

CARAVAN_API caravan_status caravan_rmsnorm_forward(caravan_stream stream,
                                                   const caravan_rmsnorm_forward_args* args);
CARAVAN_API caravan_status caravan_rmsnorm_backward(caravan_stream stream,
                                                    const caravan_rmsnorm_backward_args* args);
CARAVAN_API caravan_status caravan_rmsnorm_backward_workspace(
    int32_t kind, const caravan_rmsnorm_backward_args* args, int64_t* bytes);

/* ------------------------------------------------------------------ rope ------------------------ */

typedef enum caravan_rope_layout {
    CARAVAN_ROPE_HALF = 0,       /* pairs (i, i + n/2): Hugging Face checkpoints */
    CARAVAN_ROPE_INTERLEAVED = 1 /* pairs (2i, 2i + 1): the paper, llama2.c */
} caravan_rope_layout;

/* Rotates the first n = 2 * shape[1] of cos elements of every head; the others are copied.
 * Source: Su et al. 2021, arXiv 2104.09864, eq. 34. forward turns by +angle, backward by -angle: it is
 * its own gradient. Scalings (linear, NTK, YaRN, llama3) are in the tables.
 *   x [T, H, N] float . y [T, H, N] float =, may be x . positions [T] i32, each below P
 *   cos, sin [P, n/2] f32 */
typedef struct caravan_rope_args {
    int64_t size;
    caravan_tensor x;
    caravan_tensor y;
    caravan_tensor positions;
    caravan_tensor cos;
    caravan_tensor sin;
    int32_t layout; /* caravan_rope_layout */
} caravan_rope_args;

CARAVAN_API caravan_status caravan_rope_forward(caravan_stream stream,
                                                const caravan_rope_args* args);
CARAVAN_API caravan_status caravan_rope_backward(caravan_stream stream,
                                                 const caravan_rope_args* args);

/* ------------------------------------------------------------------ attention ------------------- */

/* Fused attention over packed documents; scores never exist whole. Document s owns query rows
 * cu_q[s] .. cu_q[s+1]-1 and key rows cu_k[s] .. cu_k[s+1]-1; attention never crosses documents; empty
 * documents are allowed, so the arrays may be padded with their last value. Query i of a document
 * stands at position i + (keys - queries): causal is aligned bottom-right. With p(j) = position of
 * key j:
 *   score(i, j) = cap(scale * q_i . k_j) + bias(p(j) - p(i)),  cap(s) = soft_cap * tanh(s / soft_cap)
 *   allowed: not causal or p(j) <= p(i);  p(i) - p(j) <= window_left;  p(j) - p(i) <= window_right
 *   out_i = sum_j softmax_j(score) v_j;  lse_i = log sum_j exp(score);  a row with no key: out 0,
 *   lse -infinity. Rows of out outside every document are set to 0.
 * sinks adds exp(sinks[h]) to the soft-max's denominator, as one more key whose value is 0 (OpenAI
 * 2025, gpt-oss; Xiao et al. 2023, arXiv 2309.17453): lse_i = log(exp(sinks[h]) + sum_j exp(score)),
 * but still -infinity for a row with no key, whose out stays 0. A sink of -infinity is none.
 * Query head h reads key/value head h / (H / K).
 * bias(d) = bias_table[bucket(d)][h], bucket as in Raffel et al. 2020, arXiv 1910.10683, section 2.1
 * (half of the buckets exact, half logarithmic up to bias_max_distance; split by sign when
 * bias_bidirectional).
 * Sources: Dao et al. 2022, arXiv 2205.14135; Dao 2023, arXiv 2307.08691.
 *   q [Tq, H, N] . k [Tk, K, N] . v [Tk, K, M] . out [Tq, H, M] float = . lse [H, Tq] f32 = optional
 *   cu_q, cu_k [S + 1] i32, ascending from 0, last at most Tq, Tk . bias_table optional [B, H] f32
 *   sinks optional [H] f32
 * pages optional [S, L] i32: keys and values in pages of page_rows rows of k and v, a multiple of 16
 * that divides Tk. Key j of document s is row pages[s][j / page_rows] * page_rows + j % page_rows; the
 * pages of its keys lie below Tk / page_rows, what is behind them is not looked at. cu_k then says how
 * many keys each document has, at most L * page_rows; as pages may be shared, and are in any order, its
 * last value may exceed Tk (Kwon et al. 2023, arXiv 2309.06180, section 4.1). Forward only. */
typedef struct caravan_attention_forward_args {
    int64_t size;
    caravan_tensor q;
    caravan_tensor k;
    caravan_tensor v;
    caravan_tensor out;
    caravan_tensor lse;
    caravan_tensor cu_q;
    caravan_tensor cu_k;
    caravan_tensor bias_table;
    caravan_tensor workspace;
    float scale;
    float soft_cap;       /* 0 = none */
    int32_t causal;       /* 0 or 1 */
    int32_t window_left;  /* keys this far back are seen; -1 = no limit */
    int32_t window_right; /* keys this far ahead are seen; -1 = no limit */
    int32_t bias_bidirectional;
    int32_t bias_max_distance;
    caravan_tensor sinks;
    caravan_tensor pages;
    int32_t page_rows;
} caravan_attention_forward_args;

/* Gradients of the above. d_q, d_k, d_v have the shapes of q, k, v and are overwritten (0 outside
 * documents); d_bias_table [B, H] f32 +=, present when bias_table is. With the weight of the sink
 * exp(sinks[h] - lse_i) and delta_i = d_out_i . out_i:
 *   d_sinks[h] += -sum over i of exp(sinks[h] - lse_i) * delta_i
 * d_sinks [H] f32 +=, present when sinks is. lse: as the forward pass left it, so with its sinks.
 * any_order is for measuring what a fixed order of sums costs, and for nothing else: where blocks add to
 * the same rows of d_q, they do so as they come, so the last bits of d_q change from call to call. */
typedef struct caravan_attention_backward_args {
    int64_t size;
    caravan_tensor d_out;
    caravan_tensor q;
    caravan_tensor k;
    caravan_tensor v;
    caravan_tensor out;
    caravan_tensor lse;
    caravan_tensor cu_q;
    caravan_tensor cu_k;
    caravan_tensor bias_table;
    caravan_tensor d_q;
    caravan_tensor d_k;
    caravan_tensor d_v;
    caravan_tensor d_bias_table;
    caravan_tensor workspace;
    float scale;
    float soft_cap;
    int32_t causal;
    int32_t window_left;
    int32_t window_right;
    int32_t bias_bidirectional;
    int32_t bias_max_distance;
    caravan_tensor sinks;
    caravan_tensor d_sinks;
    int32_t any_order; /* 0, or 1 to measure */
} caravan_attention_backward_args;

CARAVAN_API caravan_status caravan_attention_forward(caravan_stream stream,
                                                     const caravan_attention_forward_args* args);
CARAVAN_API caravan_status caravan_attention_backward(caravan_stream stream,
                                                      const caravan_attention_backward_args* args);
CARAVAN_API caravan_status caravan_attention_forward_workspace(
    int32_t kind, const caravan_attention_forward_args* args, int64_t* bytes);
CARAVAN_API caravan_status caravan_attention_backward_workspace(
    int32_t kind, const caravan_attention_backward_args* args, int64_t* bytes);

/* Writes new keys or values behind those already cached: cache[start + i] = x[i].
 *   x [R, K, N] float . cache [P, K, N] float . start i32 [1], start + R at most P */
typedef struct caravan_cache_append_args {
    int64_t size;
    caravan_tensor x;
    caravan_tensor cache;
    caravan_tensor start;
} caravan_cache_append_args;

CARAVAN_API caravan_status caravan_cache_append_forward(caravan_stream stream,
                                                        const caravan_cache_append_args* args);

/* ------------------------------------------------------------------ gated units ----------------- */

/* swiglu: out = silu(gate) * up, silu(x) = x / (1 + exp(-x)).  geglu: out = gelu(gate) * up, by erf,
 * or by tanh when approximate. Source: Shazeer 2020, arXiv 2002.05202, eq. 6.
 *   gate, up, out [R, F] float; rows may be strided, so gate and up may be halves of one buffer */
typedef struct caravan_glu_forward_args {
    int64_t size;
    caravan_tensor gate;
    caravan_tensor up;
    caravan_tensor out;
    int32_t approximate; /* geglu only */
} caravan_glu_forward_args;

/*   d_out, gate, up in . d_gate, d_up [R, F] float =; d_gate may be gate, d_up may be up */
typedef struct caravan_glu_backward_args {
    int64_t size;
    caravan_tensor d_out;
    caravan_tensor gate;
    caravan_tensor up;
    caravan_tensor d_gate;
    caravan_tensor d_up;
    int32_t approximate; /* geglu only */
} caravan_glu_backward_args;

CARAVAN_API caravan_status caravan_swiglu_forward(caravan_stream stream,
                                                  const caravan_glu_forward_args* args);
CARAVAN_API caravan_status caravan_swiglu_backward(caravan_stream stream,
                                                   const caravan_glu_backward_args* args);
CARAVAN_API caravan_status caravan_geglu_forward(caravan_stream stream,
                                                 const caravan_glu_forward_args* args);
CARAVAN_API caravan_status caravan_geglu_backward(caravan_stream stream,
                                                  const caravan_glu_backward_args* args);

/* ------------------------------------------------------------------ sparse experts -------------- */

/* A layer of E experts of which each token wakes C ("choices", top-k). Its ops, in the order of a step:
 *   matmul           logits [T, E], float32 sums and output
 *   router           scores, choices, weights, what the balance losses need
 *   expert_sort      rows of the experts' products: a stable counting sort, on the device
 *   expert_places    where experts are on several devices: which rows go to which
 *   grouped_matmul   per expert: h = x W1^T with rows of x gathered, act = f(h); then out = act W2^T
 *   combine          y[t] = sum of the token's rows, weighted, in the order of its choices
 * and back, with nothing kept but logits, h and the integers: grouped_matmul_backward,
 * grouped_outer, grouped_matmul, combine, router_backward. A chosen row is an "assignment", number
 * t * C + c; the buffers of rows hold A = T * C of them, so nothing is ever dropped unless a capacity
 * asks for it, and how many are in use is read from memory. Letters besides: E experts, at most
 * CARAVAN_MAX_EXPERTS . C choices . A = T * C rows . L sparse layers. */
#define CARAVAN_MAX_EXPERTS 1024

typedef enum caravan_scoring { CARAVAN_SOFTMAX = 0, CARAVAN_SIGMOID = 1 } caravan_scoring;

/* Per layer, what balance losses and metrics are made of: f32 [CARAVAN_ROUTER_STATS(E)]
 *   [0, E) assignments of each expert . [E, 2E) tokens whose first choice it is
 *   [2E, 3E) sum over tokens of its probability (sigmoid: its share of the token's scores)
 *   [3E] sum over tokens of lse^2, lse = log sum_e exp(logit) . [3E + 1] tokens */
#define CARAVAN_ROUTER_STATS(experts) (3 * (experts) + 2)

/* p = softmax(logits) or sigmoid(logits); the C largest are the token's choices, largest first, the
 * lower expert of equal ones; weight = p, or p / (sum of the chosen p) with renormalise. Rows beyond
 * `rows` are padding: experts -1, weights 0, not counted. A NaN among a row's logits makes its weights
 * NaN. Sources: Shazeer et al. 2017, arXiv 1701.06538; Lepikhin et al. 2020, arXiv 2006.16668,
 * algorithm 1; z: Zoph et al. 2022, arXiv 2202.08906, eq. 5.
 *   logits [T, E] f32 . rows optional i32 [1] . weights [T, C] f32 = . experts [T, C] i32 =
 *   stats f32 [CARAVAN_ROUTER_STATS(E)] = */
typedef struct caravan_router_forward_args {
    int64_t size;
    caravan_tensor logits;
    caravan_tensor rows;
    caravan_tensor weights;
    caravan_tensor experts;
    caravan_tensor stats;
    caravan_tensor workspace;
    int32_t scoring; /* caravan_scoring */
    int32_t renormalise;
} caravan_router_forward_args;

/* The gradient of the logits: of the weights, and of the balance and z losses of `balance`, which need
 * no pass of their own. With a_e = factors[e] for every token, b = factors[E]:
 *   d_logits = d(p)/d(logits) applied to (d_weights' part + a) + 2 b lse softmax(logits)
 *   logits, rows, weights, experts as above . d_weights f32 [A] by grouped row, and slots [T, C] i32
 *   of expert_sort: assignment (t, c) has d_weights[slots[t][c]], 0 where the slot is -1
 *   factors optional f32 [E + 1] . d_logits [T, E] f32 =; rows of padding are 0 */
typedef struct caravan_router_backward_args {
    int64_t size;
    caravan_tensor logits;
    caravan_tensor rows;
    caravan_tensor weights;
    caravan_tensor experts;
    caravan_tensor d_weights;
    caravan_tensor slots;
    caravan_tensor factors;
    caravan_tensor d_logits;
    int32_t scoring;
    int32_t renormalise;
} caravan_router_backward_args;

CARAVAN_API caravan_status caravan_router_forward(caravan_stream stream,
                                                  const caravan_router_forward_args* args);
CARAVAN_API caravan_status caravan_router_backward(caravan_stream stream,
                                                   const caravan_router_backward_args* args);
CARAVAN_API caravan_status caravan_router_forward_workspace(
    int32_t kind, const caravan_router_forward_args* args, int64_t* bytes);

typedef enum caravan_balance {
    CARAVAN_BALANCE_NONE = 0,
    CARAVAN_BALANCE_FIRST = 1,  /* per layer E sum_e f_e P_e, f_e the share of tokens whose first choice
                                   is e, P_e the mean probability: GLaM and GShard (E^2 times the mean
                                   over e) and Switch; summed over layers */
    CARAVAN_BALANCE_CHOSEN = 2  /* E sum_e f_e P_e once, f_e counting every choice, both means over the
                                   tokens of all layers: Mixtral and OLMoE in Hugging Face */
} caravan_balance;

/* Load-balancing and z losses of one micro-batch, over all sparse layers, and their derivatives. Both
 * count with the micro-batch's share of the step's tokens, tokens * state.inv_tokens.
 *   stats f32 [L, CARAVAN_ROUTER_STATS(E)] . state u8
 *   factors f32 [L, E + 1] =: d loss / d p_(t,e) for every token t, then d loss / d lse_t^2
 *   totals f64 [L, E + 3] +=: balance loss and z loss (the mean of lse^2) of the layer, each times the
 *   share and without its weight; assignments dropped; then each expert's assignments
 *   offsets optional i32 [L, E + 1]: those of expert_sort, to count what was dropped
 * Sources: Fedus et al. 2021, arXiv 2101.03961, eq. 4; Du et al. 2021, arXiv 2112.06905, section 4;
 * Zoph et al. 2022, eq. 5. */
typedef struct caravan_balance_args {
    int64_t size;
    caravan_tensor stats;
    caravan_tensor state;
    caravan_tensor factors;
    caravan_tensor totals;
    caravan_tensor offsets;
    float weight;       /* of the balance loss */
    float z_weight;     /* of the z loss */
    int32_t definition; /* caravan_balance */
    int32_t choices;    /* C */
} caravan_balance_args;

CARAVAN_API caravan_status caravan_balance_forward(caravan_stream stream,
                                                   const caravan_balance_args* args);

typedef enum caravan_second_expert {
    CARAVAN_SECOND_ALL = 0,       /* every further choice is kept */
    CARAVAN_SECOND_THRESHOLD = 1, /* those of weight above the threshold */
    CARAVAN_SECOND_RANDOM = 2     /* those with u < weight / threshold, u uniform in [0, 1) */
} caravan_second_expert;

/* Rows by expert, within an expert in the order of tokens: a stable counting sort.
 *   experts [T, C] i32, below E, or -1 for padding . weights optional [T, C] f32, needed by a policy
 *   offsets i32 [E + 1] =: rows of expert e are offsets[e] .. offsets[e + 1] - 1
 *   assignments i32 [A] =: assignment number of each row, -1 beyond offsets[E]
 *   slots [T, C] i32 =: the row of each assignment, -1 where it is padding or dropped
 * capacity > 0 drops as GShard does: in every group of `group` tokens an expert takes at most
 * `capacity`, all first choices in the order of tokens, then all second choices, and so on; choices of
 * the policy's first. Weights are not renormalised over what remains. Source: Lepikhin et al. 2020,
 * arXiv 2006.16668, algorithm 1 and section 3.2.
 * Of more experts than the E that are sorted, in_all of them, those from `first` on are: theirs are
 * the numbers first .. first + E - 1 in `experts`, which may hold any below in_all; choices of others
 * count as padding.
 *   state u8, for the random policy: drawn by (seed, step, salt, assignment) */
typedef struct caravan_expert_sort_args {
    int64_t size;
    caravan_tensor experts;
    caravan_tensor weights;
    caravan_tensor offsets;
    caravan_tensor assignments;
    caravan_tensor slots;
    caravan_tensor state;
    caravan_tensor workspace;
    int64_t capacity; /* 0: none is dropped */
    int64_t group;    /* tokens; 0: all of them */
    float threshold;
    int32_t policy; /* caravan_second_expert, on choices after the first */
    int32_t salt;   /* tells layers apart */
    int32_t first;
    int32_t in_all; /* 0: E */
} caravan_expert_sort_args;

CARAVAN_API caravan_status caravan_expert_sort_forward(caravan_stream stream,
                                                       const caravan_expert_sort_args* args);
CARAVAN_API caravan_status caravan_expert_sort_workspace(int32_t kind,
                                                         const caravan_expert_sort_args* args,
                                                         int64_t* bytes);

/* Where experts are divided among R devices, device r having the E / R from r E / R on: which rows go
 * to which device, each of which is sent P rows whatever it is sent. Its rows lie in the order of
 * expert_sort from its first place on; places behind the last of them are empty.
 *   experts [T, C] i32, offsets i32 [E + 1], assignments i32 [A], slots [T, C] i32: as expert_sort was
 *   given and made them
 *   sent [R, P] i32 =: assignment number of the row at each place, -1 where the place is empty
 *   tokens [R, P] i32 =: its token . sent_experts [R, P] i32 =: its expert, 0 to E - 1; likewise -1
 *   places [T, C] i32 =: the place of each assignment, device * P + place, -1 where it has none, as its
 *   slot is -1 or the device is sent more than P rows */
typedef struct caravan_expert_places_args {
    int64_t size;
    caravan_tensor experts;
    caravan_tensor offsets;
    caravan_tensor assignments;
    caravan_tensor slots;
    caravan_tensor sent;
    caravan_tensor tokens;
    caravan_tensor sent_experts;
    caravan_tensor places;
} caravan_expert_places_args;

CARAVAN_API caravan_status caravan_expert_places_forward(caravan_stream stream,
                                                         const caravan_expert_places_args* args);

/* What the epilogue of an expert's first product does with h [A, N]: gated units take two halves of a
 * row, gate then up, and give N/2 = F elements, the others F = N. */
typedef enum caravan_expert_activation {
    CARAVAN_EXPERT_NONE = 0,
    CARAVAN_EXPERT_SWIGLU = 1,     /* silu(gate) * up */
    CARAVAN_EXPERT_GEGLU = 2,      /* gelu(gate) * up, by erf */
    CARAVAN_EXPERT_GEGLU_TANH = 3, /* the same by tanh */
    CARAVAN_EXPERT_SILU = 4,
    CARAVAN_EXPERT_GELU = 5,
    CARAVAN_EXPERT_GELU_TANH = 6
} caravan_expert_activation;

/* For each expert e and its rows r of offsets[e] .. offsets[e + 1] - 1:
 *   out[r] = op(w[e]) x[source(r)],  source(r) = assignments[r] / choices, or r where absent;
 *   act[r] = f(out[r]), with an activation.
 * Other rows of out and act are not touched; experts without rows cost nothing.
 *   x [S, K] float . assignments optional i32 [A] . offsets i32 [E + 1], the last at most A
 *   w [E, N, K], or with transpose_w [E, K, N], float . out [A, N] float = . act [A, F] float = */
typedef struct caravan_grouped_matmul_forward_args {
    int64_t size;
    caravan_tensor x;
    caravan_tensor assignments;
    caravan_tensor offsets;
    caravan_tensor w;
    caravan_tensor out;
    caravan_tensor act;
    int32_t choices;
    int32_t transpose_w;
    int32_t activation; /* caravan_expert_activation */
} caravan_grouped_matmul_forward_args;

/* Back through the second product and the activation, given y[t] = sum over the token's rows r of
 * weight_r w[e] act[r]. With g[r] = w[e]^T d_y[source(r)], the gradient of act before its weight:
 *   d_weights[r] = <g[r], act[r]>          act[r] = f(h[r]) made anew
 *   d_h[r] = f'(h[r]) applied to weight_r g[r];   act[r] = weight_r act[r], for the gradient of w
 * The first line is d_weight = <d_y, w[e] act[r]> with the product moved over, so that the experts'
 * outputs are not kept. Source: Guo et al. 2025, arXiv 2512.14080, section 3.2 and appendix C.
 *   d_y [T, D] float . assignments i32 [A] . offsets i32 [E + 1] . w [E, D, F] float
 *   weights [T, C] f32, by assignment . h [A, N] float . d_h [A, N] float =, may be h
 *   act [A, F] float = . d_weights f32 [A] = */
typedef struct caravan_grouped_matmul_backward_args {
    int64_t size;
    caravan_tensor d_y;
    caravan_tensor assignments;
    caravan_tensor offsets;
    caravan_tensor w;
    caravan_tensor weights;
    caravan_tensor h;
    caravan_tensor d_h;
    caravan_tensor act;
    caravan_tensor d_weights;
    int32_t activation;
} caravan_grouped_matmul_backward_args;

CARAVAN_API caravan_status caravan_grouped_matmul_forward(
    caravan_stream stream, const caravan_grouped_matmul_forward_args* args);
CARAVAN_API caravan_status caravan_grouped_matmul_backward(
    caravan_stream stream, const caravan_grouped_matmul_backward_args* args);

/* Gradients of grouped weights: c[e] += sum over the rows r of e of a_r b_r^T, where a_r = a[r], or
 * a[assignments[r] / choices] with gather_a = 1, and b_r likewise.
 *   a [., M] float . b [., N] float . assignments i32 [A], needed where one is gathered
 *   offsets i32 [E + 1] . c [E, M, N] f32 += */
typedef struct caravan_grouped_outer_args {
    int64_t size;
    caravan_tensor a;
    caravan_tensor b;
    caravan_tensor assignments;
    caravan_tensor offsets;
    caravan_tensor c;
    int32_t choices;
    int32_t gather_a;
    int32_t gather_b;
} caravan_grouped_outer_args;

CARAVAN_API caravan_status caravan_grouped_outer_forward(caravan_stream stream,
                                                         const caravan_grouped_outer_args* args);

/* y[t] = sum over c = 0, 1, ... of weights[t][c] * x[slots[t][c]], in this order, choices with slot -1
 * left out; without weights all are 1. A token with none gets 0.
 *   x [A, D] float . slots [T, C] i32, below A . weights optional [T, C] f32 . y [T, D] float = */
typedef struct caravan_combine_args {
    int64_t size;
    caravan_tensor x;
    caravan_tensor slots;
    caravan_tensor weights;
    caravan_tensor y;
} caravan_combine_args;

CARAVAN_API caravan_status caravan_combine_forward(caravan_stream stream,
                                                   const caravan_combine_args* args);

/* ------------------------------------------------------------------ class_statistics ------------ */

/* What cross_entropy has to know of a chunk of rows whose logits are a part of all classes, those from
 * first_class on, as several devices hold one each. Row i of the chunk is target row first + i, in use
 * when below count; columns from class `classes` on are padding.
 *   statistics[i] = {max, sum of exp(logit - max), the target's logit}, each over the part's own
 *   columns; the logit is -infinity where the target is of another part. Rows not in use: {-inf, 0,
 *   -inf}.
 *   logits [R, V] float . targets [n] i32, each in 0 .. classes-1 . count i32 [1], at most n
 *   statistics [R, 3] f32 = */
typedef struct caravan_class_statistics_args {
    int64_t size;
    caravan_tensor logits;
    caravan_tensor targets;
    caravan_tensor count;
    caravan_tensor statistics;
    int64_t first;
    int64_t first_class;
    int64_t classes;
} caravan_class_statistics_args;

CARAVAN_API caravan_status
caravan_class_statistics_forward(caravan_stream stream, const caravan_class_statistics_args* args);

/* ------------------------------------------------------------------ cross_entropy --------------- */

/* One chunk of rows of logits: row i of the chunk is target row first + i, in use when below count.
 * With statistics, the logits are a part of all classes, see class_statistics; targets lie in
 * 0 .. classes-1, soft-max and nll are over all parts, and gradients of padding are 0.
 *   nll[first + i] = lse - logits[i][targets[first + i]], nats;  state.loss_sum += their sum
 *   with gradient: logits[i] = (softmax(logits[i]) - onehot(target)) * state.inv_targets, in place;
 *   rows not in use become 0.
 *   logits [R, V] float inout . targets [n] i32, each in 0 .. V-1 . count i32 [1], at most n
 *   nll [n] f32 = for rows in use . state: one caravan_step_state, dtype u8 */
typedef struct caravan_cross_entropy_args {
    int64_t size;
    caravan_tensor logits;
    caravan_tensor targets;
    caravan_tensor count;
    caravan_tensor nll;
    caravan_tensor state;
    int64_t first;
    int32_t gradient; /* 1: write the gradient; 0: leave the logits alone */
    caravan_tensor statistics; /* optional [P, R, 3] f32: of each of P parts */
    int64_t first_class;       /* with statistics: of this part */
    int64_t classes;           /* with statistics: of all parts */
} caravan_cross_entropy_args;

CARAVAN_API caravan_status caravan_cross_entropy_forward(caravan_stream stream,
                                                         const caravan_cross_entropy_args* args);

/* ------------------------------------------------------------------ global_norm ----------------- */

/* state.grad_norm = sqrt(sum of squares of all of grads), and from it clip_factor and finite.
 *   grads [n] float . state u8 . workspace */
typedef struct caravan_global_norm_args {
    int64_t size;
    caravan_tensor grads;
    caravan_tensor state;
    caravan_tensor workspace;
} caravan_global_norm_args;

CARAVAN_API caravan_status caravan_global_norm_forward(caravan_stream stream,
                                                       const caravan_global_norm_args* args);
CARAVAN_API caravan_status caravan_global_norm_workspace(int32_t kind,
                                                         const caravan_global_norm_args* args,
                                                         int64_t* bytes);

/* ------------------------------------------------------------------ optimizers ------------------ */

/* A run of the flat parameter buffer: one tensor, with whether weight decay applies to it. */
typedef struct caravan_segment {
    int64_t offset; /* elements */
    int64_t count;  /* elements */
    float decay;    /* factor on weight_decay: 1 or 0 */
    int32_t reserved;
} caravan_segment;

/* AdamW with decoupled decay over a flat buffer. Source: Loshchilov and Hutter 2019, arXiv 1711.05101,
 * algorithm 2; bias correction by state.step. With g = clip_factor * grad:
 *   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   p = p - lr * (m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps) + weight_decay * decay * p)
 * Does nothing when state.finite is 0. A bf16 parameter with `remainder` is a float32 master in two
 * parts, without loss: master bits = (param bits << 16) + (remainder as a signed 16-bit number), so
 * that the parameter is the master rounded to nearest.
 * bf16 moments are rounded stochastically by (state.seed, state.step, index).
 *   param [n] f32 or bf16 . remainder [n] u16, needed for bf16 . grad [n] float . m, v [n] float
 *   segments: u8, a table of caravan_segment that cover what is to be updated, ascending and without
 *   overlap . state u8, its step at least 1 */
typedef struct caravan_adamw_args {
    int64_t size;
    caravan_tensor param;
    caravan_tensor remainder;
    caravan_tensor grad;
    caravan_tensor m;
    caravan_tensor v;
    caravan_tensor segments;
    caravan_tensor state;
    float beta1;
    float beta2;
    float eps;
    float weight_decay;
} caravan_adamw_args;

CARAVAN_API caravan_status caravan_adamw_step(caravan_stream stream,
                                              const caravan_adamw_args* args);

/* Adafactor for one tensor. Source: Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5, with
 * b2(t) = 1 - t^-decay_rate. param [R, C] is factored into row [R] and col [C] means of g^2 + eps1;
 * param [n], or factored = 0, keeps v of its own shape. With step size a = lr, times max(eps2,
 * rms(param)) with scale_parameter: u = a * (g / sqrt(v)) / max(1, rms(g / sqrt(v)) / clip_threshold);
 * beta1 > 0 keeps m = beta1 m + (1 - beta1) u and takes it for u; param -= a * weight_decay * param,
 * then param -= u. g is the gradient times state.clip_factor. Does nothing
 * when state.finite is 0. param, remainder, grad as in adamw.
 *
 * param may be one of `parts` equal parts that lie next to each other along axis `cut` of a whole; then
 * a step of each part is one call for each phase but ALL, and in between the parts' sums, then their
 * squares, are added up, so that every part has the total. Means and sizes are those of the whole; of
 * row and col a part has what belongs to its own rows and columns. */
typedef enum caravan_adafactor_phase {
    CARAVAN_ADAFACTOR_ALL = 0,     /* of a whole param: everything */
    CARAVAN_ADAFACTOR_SUM = 1,     /* moments that need no other part, and sums */
    CARAVAN_ADAFACTOR_MEASURE = 2, /* from the totals of sums the other moments, and squares */
    CARAVAN_ADAFACTOR_UPDATE = 3   /* from the totals of both the update */
} caravan_adafactor_phase;

typedef struct caravan_adafactor_args {
    int64_t size;
    caravan_tensor param;
    caravan_tensor remainder;
    caravan_tensor grad;
    caravan_tensor row; /* f32 [R], when factored */
    caravan_tensor col; /* f32 [C], when factored */
    caravan_tensor v;   /* f32, when not */
    caravan_tensor m;   /* f32, when beta1 > 0 */
    caravan_tensor state;
    caravan_tensor workspace;
    float beta1;
    float decay_rate;
    float eps1;
    float eps2;
    float clip_threshold;
    float weight_decay;
    int32_t scale_parameter;
    int32_t factored;
    int32_t phase; /* caravan_adafactor_phase */
    int32_t parts; /* these and sums and squares in all phases but ALL */
    int32_t cut;   /* 0, or 1 of a param [R, C] */
    int32_t reserved;
    /* f32 [2 + K]: squares of param, with scale_parameter; row, when factored and cut is 0; and when
     * factored g^2 + eps1 of each of K = C columns (cut 0), or K = R rows (cut 1) */
    caravan_tensor sums;
    caravan_tensor squares; /* f32 [1]: squares of g / sqrt(v) */
} caravan_adafactor_args;

CARAVAN_API caravan_status caravan_adafactor_step(caravan_stream stream,
                                                  const caravan_adafactor_args* args);
CARAVAN_API caravan_status caravan_adafactor_workspace(int32_t kind,
                                                       const caravan_adafactor_args* args,
                                                       int64_t* bytes);

#ifdef __cplusplus
}
#endif

#endif /* CARAVAN_CARAVAN_H_ */
