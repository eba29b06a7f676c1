// cuda_on_host.cpp: run a grid on the CPU, one block at a time, and log memory accesses where the build emits them.
//
// A fiber runs the threads of a block one after another. A thread that has to wait keeps its fiber, and another fiber
// goes on with the threads not yet started. So a kernel without barriers costs no switch per thread, and no kernel
// needs more fibers than it has threads waiting at a time.
#include "cuda_on_host.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace cuda_on_host {

Builtins builtins;

namespace {

typedef void (*Call)(const void* source, void* out, const void* parameters);

struct Memory {  // as in kernels.py
    unsigned char* address;
    uint64_t bytes;
};

struct Launch {  // as in kernels.py
    uint32_t grid[3], block[3];
    uint64_t shared_bytes;
    const Memory* statics;  // the kernel's static shared variables
    uint64_t static_count;
    const void* source;
    void* out;
    const void* parameters;
    int64_t order;  // of threads and blocks: -2 forward, -1 reversed, others seed a shuffle
    const uint32_t* chosen;  // the blocks to run; all of them if none is chosen
    uint64_t chosen_count;
};

struct Access {  // as in kernels.py
    uint64_t address, pc;
    uint32_t block, thread, interval, size, is_write, occurrence;
};

struct Place {
    const char* file = "";
    int line = 0;
    bool operator==(const Place& other) const { return line == other.line && !std::strcmp(file, other.file); }
    bool operator<(const Place& other) const {
        const int order = std::strcmp(file, other.file);
        return order ? order < 0 : line < other.line;
    }
};

void fiber_main();

// A stack above a page that nothing may touch, so that an overflow stops there.
struct Fiber {
    static constexpr size_t page = 64 << 10, bytes = 256 << 10;
    ucontext_t context;
    char* stack;

    Fiber() {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void* memory = mmap(nullptr, page + bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE)) std::abort();
        stack = static_cast<char*>(memory) + page;
        getcontext(&context);
        context.uc_stack.ss_sp = stack;
        context.uc_stack.ss_size = bytes;
        context.uc_link = nullptr;
        makecontext(&context, fiber_main, 0);
    }
    ~Fiber() { munmap(stack - page, page + bytes); }
    Fiber(const Fiber&) = delete;
};

enum State { UNSTARTED, READY, AT_BARRIER, AT_EXCHANGE, FINISHED };

// Copies that a thread has not waited for, and how many groups of them it has committed.
struct Copies {
    struct Each {
        Copy* copy;
        void* to;
        const void* from;
        size_t size;
        unsigned group;
    };
    std::deque<Each> left;
    unsigned groups;
};

struct Thread {
    State state;
    Fiber* fiber;
    Place place;
    unsigned mask, from;  // of an exchange
    uint64_t value;       // brought to it, and taken from it
    Copies copies;
};

struct Scheduler {
    Launch launch;
    Call call;
    std::vector<Thread> threads;
    std::vector<unsigned> order;
    size_t next;  // in order: the first thread not started
    size_t finished;
    unsigned current, block, interval;
    std::unique_ptr<unsigned char[]> shared;

    ucontext_t context;
    Fiber* fiber = nullptr;  // the running one
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber*> idle;
    std::string error;

    bool logging = false;
    std::vector<Access> log;

    void record(unsigned thread, const void* address, size_t size, bool is_write, const void* pc);
    void run();
    bool run_block();
    bool release();
    bool release_warp(unsigned warp, bool& released);
    void enter(unsigned thread);
    void resume(Fiber* f);
    void suspend();
    void wait(State state, const char* file, int line);
    Fiber* idle_fiber();
    bool fail(const std::string& what);
    std::string waiting() const;
};

Scheduler scheduler;

void fiber_main() {
    Scheduler& s = scheduler;
    for (;;) {
        while (s.next < s.order.size()) {
            const unsigned thread = s.order[s.next++];
            s.threads[thread].fiber = s.fiber;
            s.enter(thread);
            s.call(s.launch.source, s.launch.out, s.launch.parameters);
            s.threads[s.current].state = FINISHED;
            ++s.finished;
        }
        s.idle.push_back(s.fiber);
        s.suspend();
    }
}

void Scheduler::enter(unsigned thread) {
    const dim3& n = builtins.threads;
    current = thread;
    builtins.thread = {thread % n.x, thread / n.x % n.y, thread / n.x / n.y};
}

void Scheduler::resume(Fiber* f) {
    fiber = f;
    swapcontext(&context, &f->context);
}

void Scheduler::suspend() { swapcontext(&fiber->context, &context); }

Fiber* Scheduler::idle_fiber() {
    if (idle.empty()) {
        fibers.emplace_back(new Fiber);
        return fibers.back().get();
    }
    Fiber* f = idle.back();
    idle.pop_back();
    return f;
}

void Scheduler::wait(State state, const char* file, int line) {
    const unsigned self = current;
    threads[self].state = state;
    threads[self].place.file = file;
    threads[self].place.line = line;
    suspend();
    enter(self);
}

std::vector<unsigned> ordered(size_t n, int64_t order) {
    std::vector<unsigned> indices(n);
    std::iota(indices.begin(), indices.end(), 0u);
    if (order == -1) std::reverse(indices.begin(), indices.end());
    if (order >= 0) std::shuffle(indices.begin(), indices.end(), std::mt19937_64(uint64_t(order)));
    return indices;
}

void Scheduler::run() {
    const uint32_t *g = launch.grid, *b = launch.block;
    const size_t n = size_t(b[0]) * b[1] * b[2], blocks = size_t(g[0]) * g[1] * g[2];
    builtins.threads = {b[0], b[1], b[2]};
    builtins.blocks = {g[0], g[1], g[2]};
    error.clear();
    threads.assign(n, Thread());
    order = ordered(n, launch.order);
    // Of exactly this size, so that AddressSanitizer's guard zones begin where it ends. operator new aligns to 16.
    shared.reset(new unsigned char[launch.shared_bytes]);
    std::vector<unsigned> some(launch.chosen, launch.chosen + launch.chosen_count);
    for (unsigned i : some.empty() ? ordered(blocks, launch.order) : some) {
        block = i;
        builtins.block = {i % g[0], i / g[0] % g[1], i / g[0] / g[1]};
        if (!run_block()) break;
    }
    if (!error.empty()) {  // fibers that wait will never be resumed
        idle.clear();
        fibers.clear();
    }
}

bool Scheduler::run_block() {
    next = finished = interval = 0;
    for (Thread& t : threads) t.state = UNSTARTED;
    // Shared memory begins as NaN: nobody may use what a block before this one left.
    std::memset(shared.get(), 0xff, launch.shared_bytes);
    for (uint64_t i = 0; i < launch.static_count; ++i)
        std::memset(launch.statics[i].address, 0xff, launch.statics[i].bytes);
    while (next < order.size()) resume(idle_fiber());
    while (finished < order.size()) {
        if (!release()) return false;
        for (unsigned i : order)
            if (threads[i].state == READY) resume(threads[i].fiber);
    }
    for (const Thread& t : threads)
        if (!t.copies.left.empty()) return fail("copies to shared memory that nobody waited for");
    return true;
}

// No thread can run. Let those go that wait for nobody else: of a warp, or else of the block.
bool Scheduler::release() {
    bool released = false;
    for (unsigned warp = 0; warp < threads.size(); warp += 32)
        if (!release_warp(warp, released)) return false;
    if (released) return true;
    const Place& place = threads[0].place;
    for (const Thread& t : threads)
        if (t.state != AT_BARRIER || !(t.place == place)) return fail("barrier divergence: " + waiting());
    ++interval;
    for (unsigned i = 0; i < threads.size(); ++i) {
        threads[i].state = READY;
        for (const Copies::Each& each : threads[i].copies.left) record(i, each.to, each.size, true, nullptr);
    }
    return true;
}

// CUDA excuses threads that have finished from an exchange, but their values are undefined.
bool Scheduler::release_warp(unsigned warp, bool& released) {
    const unsigned lanes = unsigned(std::min<size_t>(32, threads.size() - warp));
    for (unsigned lane = 0; lane < lanes; ++lane) {
        const Thread& first = threads[warp + lane];
        if (first.state != AT_EXCHANGE) continue;
        const unsigned mask = first.mask;
        if (!(mask >> lane & 1)) return fail("a lane outside of its own mask: " + waiting());
        unsigned members = 0, absent = 0;
        for (unsigned i = 0; i < lanes; ++i) {
            const Thread& t = threads[warp + i];
            if (!(mask >> i & 1) || t.state == FINISHED) continue;
            const bool here = t.state == AT_EXCHANGE && t.mask == mask && t.place == first.place;
            (here ? members : absent) |= 1u << i;
        }
        if (absent) continue;
        uint64_t values[32];
        for (unsigned i = 0; i < lanes; ++i) {
            if (!(members >> i & 1)) continue;
            const unsigned from = threads[warp + i].from;
            if (!(members >> from & 1))
                return fail("a shuffle reads a lane that takes no part: lane " + std::to_string(i) + " reads lane " +
                            std::to_string(from) + ": " + waiting());
            values[i] = threads[warp + from].value;
        }
        for (unsigned i = 0; i < lanes; ++i) {
            if (!(members >> i & 1)) continue;
            threads[warp + i].value = values[i];
            threads[warp + i].state = READY;
        }
        released = true;
    }
    return true;
}

void Scheduler::record(unsigned thread, const void* address, size_t size, bool is_write, const void* pc) {
    if (logging) log.push_back({uint64_t(address), uint64_t(pc), block, thread, interval, unsigned(size), is_write, 0});
}

bool Scheduler::fail(const std::string& what) {
    const uint3& b = builtins.block;
    error = "block (" + std::to_string(b.x) + ", " + std::to_string(b.y) + ", " + std::to_string(b.z) + "): " + what;
    return false;
}

std::string Scheduler::waiting() const {
    std::map<std::pair<State, Place>, std::pair<unsigned, unsigned>> groups;  // how many, and the first of them
    for (unsigned i = 0; i < threads.size(); ++i) {
        const Thread& t = threads[i];
        auto& group = groups[{t.state, t.state == FINISHED ? Place() : t.place}];
        if (!group.first++) group.second = i;
    }
    std::string text;
    for (const auto& entry : groups) {
        const Place& place = entry.first.second;
        text += text.empty() ? "" : ", ";
        text += std::to_string(entry.second.first) + " of " + std::to_string(threads.size()) + " threads ";
        const State state = entry.first.first;
        if (state == FINISHED)
            text += "finished";
        else
            text += std::string("wait for ") + (state == AT_BARRIER ? "the block" : "their warp") + " at " +
                    place.file + ":" + std::to_string(place.line);
        text += " (first: thread " + std::to_string(entry.second.second) + ")";
    }
    return text;
}

// What every device allows in a launch.
const char* objection(const Launch& l) {
    const uint32_t *g = l.grid, *b = l.block;
    if (!(g[0] && g[1] && g[2] && b[0] && b[1] && b[2])) return "an empty grid or block";
    if (g[0] > 0x7fffffff || g[1] > 65535 || g[2] > 65535) return "a grid above (2^31 - 1, 65535, 65535)";
    if (b[0] > 1024 || b[1] > 1024 || b[2] > 64) return "a block above (1024, 1024, 64)";
    if (uint64_t(b[0]) * b[1] * b[2] > 1024) return "more than 1024 threads in a block";
    if (l.shared_bytes > 227 << 10) return "more than 227 KiB of shared memory";
    for (uint64_t i = 0; i < l.chosen_count; ++i)
        if (l.chosen[i] >= uint64_t(g[0]) * g[1] * g[2]) return "a chosen block outside of the grid";
    return nullptr;
}

}  // namespace

unsigned char* dynamic_shared() { return scheduler.shared.get(); }

void block_barrier(const char* file, int line) { scheduler.wait(AT_BARRIER, file, line); }

uint64_t exchange(unsigned mask, uint64_t value, unsigned from, const char* file, int line) {
    const unsigned self = scheduler.current;
    scheduler.threads[self].mask = mask;
    scheduler.threads[self].from = from;
    scheduler.threads[self].value = value;
    scheduler.wait(AT_EXCHANGE, file, line);
    return scheduler.threads[self].value;
}

void copy_later(Copy* copy, void* to, const void* from, size_t size) {
    Copies& copies = scheduler.threads[scheduler.current].copies;
    copies.left.push_back({copy, to, from, size, copies.groups});
    scheduler.record(scheduler.current, to, size, true, nullptr);
}

void commit_copies() { ++scheduler.threads[scheduler.current].copies.groups; }

void wait_for_copies(unsigned still) {
    Copies& copies = scheduler.threads[scheduler.current].copies;
    for (; !copies.left.empty() && copies.left.front().group + still < copies.groups; copies.left.pop_front())
        copies.left.front().copy(copies.left.front().to, copies.left.front().from);
}

// ---- Called from Python; the scheduler is one, so one call at a time ------------------------------------------------
extern "C" {

// Run a launch; null, or what was wrong with it.
CUDA_ON_HOST_EXPORT const char* host_launch(Call call, const Launch* launch, int logging) {
    if (const char* what = objection(*launch)) return what;
    Scheduler& s = scheduler;
    s.launch = *launch;
    s.call = call;
    s.log.clear();
    s.logging = logging;
    s.run();
    s.logging = false;
    return s.error.empty() ? nullptr : s.error.c_str();
}

CUDA_ON_HOST_EXPORT const Access* host_log(uint64_t* count) {
    *count = scheduler.log.size();
    return scheduler.log.data();
}

// Where this shared object begins, which the linker knows.
extern const char __ehdr_start __attribute__((visibility("hidden")));
CUDA_ON_HOST_EXPORT const void* host_base() { return &__ehdr_start; }

// The dynamic shared memory of the last launch.
CUDA_ON_HOST_EXPORT const void* host_shared() { return scheduler.shared.get(); }

// The hooks of g++ -fsanitize=thread, whose runtime is not linked. Dropped are a thread's own stack, with its copy of
// the parameters, and the builtins: the rest is shared or global memory.
#define RECORD(address, size, is_write) record(address, size, is_write, __builtin_return_address(0))
static inline void record(const void* pointer, unsigned long size, bool is_write, const void* pc) {
    Scheduler& s = scheduler;
    const uint64_t address = uint64_t(pointer);
    if (!s.logging || address - uint64_t(s.fiber->stack) < Fiber::bytes) return;
    if (address - uint64_t(&builtins) < sizeof builtins) return;
    s.record(s.current, pointer, size, is_write, pc);
}

#define HOOKS(n)                                                                  \
    void __tsan_read##n(void* address) { RECORD(address, n, false); }             \
    void __tsan_write##n(void* address) { RECORD(address, n, true); }             \
    void __tsan_unaligned_read##n(void* address) { RECORD(address, n, false); }   \
    void __tsan_unaligned_write##n(void* address) { RECORD(address, n, true); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* address, unsigned long size) { RECORD(address, size, false); }
void __tsan_write_range(void* address, unsigned long size) { RECORD(address, size, true); }
void __tsan_init() {}

}  // extern "C"
}  // namespace cuda_on_host
