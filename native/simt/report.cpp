#include "simt/report.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "simt/run.h"
#include "simt/state.h"

namespace simt {
namespace {

std::string format_list(const char* format, va_list list) {
    char text[2048];
    std::vsnprintf(text, sizeof text, format, list);
    return text;
}

}  // namespace

std::string text_of(const char* format, ...) {
    va_list list;
    va_start(list, format);
    std::string text = format_list(format, list);
    va_end(list);
    return text;
}

namespace {

// The part of a path from the last folder called native on.
std::string short_path(const std::string& path) {
    const char* const root = "native/";
    const size_t at = path.rfind(root);
    return at == std::string::npos ? path : path.substr(at + std::strlen(root));
}

// The answer of addr2line (binutils), a line for each function inlined there; empty without it.
std::string ask_addr2line(const std::string& file, uintptr_t offset) {
    if (file.find('\'') != std::string::npos) return "";
    const std::string command = text_of("addr2line -Cfsipe '%s' %#zx 2>/dev/null", file.c_str(),
                                        static_cast<size_t>(offset));
    FILE* const pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return "";
    std::string answer;
    char line[1024];
    while (std::fgets(line, sizeof line, pipe) != nullptr) answer += line;
    pclose(pipe);
    return answer;
}

bool library_of(const void* address, std::string& file, uintptr_t& base) {
    Dl_info info;
    if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return false;
    base = reinterpret_cast<uintptr_t>(info.dli_fbase);
    file = access(info.dli_fname, R_OK) == 0 ? info.dli_fname : "/proc/self/exe";
    return true;
}

// "f(int) at x.cu:3" for each function inlined there, innermost first.
std::vector<std::string> find_lines(const void* address) {
    std::string file;
    uintptr_t base = 0;
    std::vector<std::string> lines;
    if (!library_of(address, file, base)) return lines;
    const uintptr_t offset = reinterpret_cast<uintptr_t>(address) - base;
    std::string answer = ask_addr2line(file, offset);
    const std::string inlined = " (inlined by) ";
    for (size_t start = 0, end; (end = answer.find('\n', start)) != std::string::npos;
         start = end + 1) {
        std::string line = answer.substr(start, end - start);
        if (line.compare(0, inlined.size(), inlined) == 0) line = line.substr(inlined.size());
        if (line.compare(0, 2, "??") != 0) lines.push_back(line);
    }
    if (lines.empty())
        lines.push_back(text_of("%s+%#zx", file.c_str(), static_cast<size_t>(offset)));
    return lines;
}

// The same, asked once for each address: a tool is started for it.
const std::vector<std::string>& lines_of(const void* address) {
    static std::map<const void*, std::vector<std::string>> known;
    const auto found = known.find(address);
    if (found != known.end()) return found->second;
    return known.emplace(address, find_lines(address)).first->second;
}

std::string without_parameters(std::string name) {
    const size_t at = name.rfind(" at ");
    if (at != std::string::npos) name = name.substr(0, at);
    const std::string anonymous = "(anonymous namespace)::";
    for (size_t i; (i = name.find(anonymous)) != std::string::npos;)
        name.erase(i, anonymous.size());
    int depth = 0;
    for (size_t i = 0; i < name.size(); ++i) {
        if (name[i] == '<') ++depth;
        if (name[i] == '>') --depth;
        if (name[i] == '(' && depth == 0) return name.substr(0, i);
    }
    return name;
}

// "3, 5-9" of the numbers added in order.
class Ranges {
  public:
    void add(int number) {
        if (count_ > 0 && number == last_ + 1) {
            last_ = number;
        } else {
            flush();
            first_ = last_ = number;
        }
        ++count_;
    }
    std::string text() {
        flush();
        return text_;
    }

  private:
    void flush() {
        if (count_ == 0) return;
        if (!text_.empty()) text_ += ", ";
        text_ += std::to_string(first_);
        if (last_ != first_) text_ += "-" + std::to_string(last_);
    }
    std::string text_;
    int first_ = 0, last_ = 0, count_ = 0;
};

}  // namespace

std::string place_of(const void* address) {
    if (address == nullptr) return "";
    // A return address: the instruction is the one before.
    const auto& lines = lines_of(static_cast<const char*>(address) - 1);
    std::string text;
    for (size_t i = 0; i < lines.size() && i < 4; ++i) {
        text += i == 0 ? "" : ", in ";
        const size_t at = lines[i].rfind(" at ");
        text += without_parameters(lines[i]);
        if (at == std::string::npos) continue;
        const std::string file = lines[i].substr(at + 4);
        text += " (" + file.substr(0, file.find(' ')) + ")";  // without a discriminator
    }
    return text;
}

std::string site_name(Site site) { return short_path(site.file) + ":" + std::to_string(site.line); }

std::string kernel_name(const void* kernel) {
    const auto& lines = lines_of(kernel);
    return lines.empty() ? "a kernel" : without_parameters(lines.back());
}

uintptr_t image_of(const void* address) {
    std::string file;
    uintptr_t base = 0;
    return library_of(address, file, base) ? base : 0;
}

uint32_t place_number(const void* address) {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(address) - cluster.image;
    return offset >> kPlaceBits == 0 ? static_cast<uint32_t>(offset) : 0;
}

std::string place_of_number(uint32_t place) {
    if (place == 0) return "another library";
    return place_of(reinterpret_cast<const void*>(cluster.image + place));
}

std::string thread_name(const Thread& thread) {
    const uint3 &t = thread.thread_index, &b = thread.block->index;
    return text_of("thread (%u,%u,%u) of block (%u,%u,%u)", t.x, t.y, t.z, b.x, b.y, b.z);
}

std::string describe_waiting() {
    std::string text;
    for (int rank = 0; rank < cluster.blocks; ++rank) {
        const Block& block = cluster_block(rank);
        std::map<std::string, Ranges> groups;
        for (int i = 0; i < block.count; ++i) {
            const Thread& thread = block.threads[i];
            std::string where = "have ended";
            if (thread.life == Life::kReady) where = "run";
            if (thread.life == Life::kWaiting) {
                where = std::string("wait in ") + thread.waits_for;
                if (thread.site.line > 0) where += " (" + site_name(thread.site) + ")";
            }
            groups[where].add(i);
        }
        if (rank > 0) text += "; ";
        text += text_of("block (%u,%u,%u): ", block.index.x, block.index.y, block.index.z);
        bool first = true;
        for (auto& [where, who] : groups) {
            if (!first) text += ", ";
            text += "threads " + who.text() + " " + where;
            first = false;
        }
        for (const auto& [offset, barrier] : block.mbarriers) {
            if (barrier.waiting.empty()) continue;
            text += text_of(
                "; the mbarrier at byte %zu lacks %u of %u arrivals and %lld bytes in phase %llu",
                offset, barrier.pending, barrier.count,
                static_cast<long long>(barrier.transactions),
                static_cast<unsigned long long>(barrier.phase));
        }
    }
    return text;
}

void raise_fault(const Thread* thread, const void* caller, const char* format, ...) {
    va_list list;
    va_start(list, format);
    std::string text = format_list(format, list);
    va_end(list);
    if (thread != nullptr) text += "; by " + thread_name(*thread);
    leave_launch(std::move(text), caller);
}

void fault(const char* format, ...) {
    va_list list;
    va_start(list, format);
    const std::string text = format_list(format, list);
    va_end(list);
    raise_fault(static_cast<const Thread*>(current()), __builtin_return_address(0), "%s",
                text.c_str());
}

}  // namespace simt
