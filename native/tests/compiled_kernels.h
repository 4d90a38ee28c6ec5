// What ptxas says of compiled kernels (nvcc -Xptxas -v), and the table that it is held against:
// native/src/cuda/registers.txt, one line a kernel with its registers for each architecture.
#pragma once

#include <cxxabi.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace compiled {

struct Use {
    int registers = 0;
    int stack = 0;   // bytes of stack frame: local memory
    int spills = 0;  // bytes of spill stores and loads
};

// "add/add_fwd_kernel<bf16, 8>" -> "sm_80" -> what it uses
using Kernels = std::map<std::string, std::map<std::string, Use>>;

// The name without its namespaces and parameters; a name that is not mangled stays as it is.
inline std::string short_name(const std::string& mangled) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> whole(
        abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free);
    if (status != 0) return mangled;
    std::string name = whole.get();
    // A template's name begins with its return type; its parameters begin at the first bracket
    // outside of <...>.
    for (const char* gone : {"caravan::", "cuda::", "tile::", "(anonymous namespace)::", "void "}) {
        const std::string word = gone;
        for (size_t at = name.find(word); at != std::string::npos; at = name.find(word, at)) {
            name.erase(at, word.size());
        }
    }
    int depth = 0;
    for (size_t i = 0; i < name.size(); ++i) {
        if (name[i] == '<') ++depth;
        if (name[i] == '>') --depth;
        if (name[i] == '(' && depth == 0) return name.substr(0, i);
    }
    return name;
}

// Adds what one report says; `source` is put before the names.
inline void read_report(std::istream& report, const std::string& source, Kernels& kernels) {
    static const std::regex entry("Compiling entry function '([^']+)' for '(\\w+)'");
    static const std::regex frame(
        "(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
    static const std::regex used("Used (\\d+) registers");
    std::string line, kernel, architecture;
    std::smatch match;
    while (std::getline(report, line)) {
        if (std::regex_search(line, match, entry)) {
            kernel = source + "/" + short_name(match[1]);
            architecture = match[2];
            kernels[kernel][architecture];
        } else if (kernel.empty()) {
            continue;
        } else if (std::regex_search(line, match, frame)) {
            // Functions that were not inlined are listed behind the kernel that calls them.
            Use& use = kernels[kernel][architecture];
            use.stack += std::stoi(match[1]);
            use.spills += std::stoi(match[2]) + std::stoi(match[3]);
        } else if (std::regex_search(line, match, used)) {
            kernels[kernel][architecture].registers = std::stoi(match[1]);
        }
    }
}

// The table's text. Local memory is listed as "stack BYTES ARCHITECTURE" behind the registers.
inline std::string table(const Kernels& kernels, const std::string& compiler) {
    std::set<std::string> architectures;
    for (const auto& [kernel, uses] : kernels) {
        for (const auto& [architecture, use] : uses) architectures.insert(architecture);
    }
    std::ostringstream out;
    out << "# Registers a thread of every kernel, by nvcc " << compiler
        << "; made by the build target refresh_registers\n"
        << "# kernel";
    for (const auto& architecture : architectures) out << " | " << architecture;
    out << " | local memory in bytes\n";
    for (const auto& [kernel, uses] : kernels) {
        out << kernel;
        std::string local;
        for (const auto& architecture : architectures) {
            const auto use = uses.find(architecture);
            out << " | " << (use == uses.end() ? "-" : std::to_string(use->second.registers));
            if (use != uses.end() && use->second.stack + use->second.spills > 0) {
                local += " " + architecture + " stack " + std::to_string(use->second.stack) +
                         " spills " + std::to_string(use->second.spills);
            }
        }
        out << " |" << local << "\n";
    }
    return out.str();
}

// The table's text back again, and the compiler that it is for.
inline Kernels read_table(std::istream& text, std::string& compiler) {
    Kernels kernels;
    std::vector<std::string> architectures;
    std::string line;
    while (std::getline(text, line)) {
        std::vector<std::string> cells;
        std::istringstream row(line);
        for (std::string cell; std::getline(row, cell, '|');) {
            const size_t first = cell.find_first_not_of(' ');
            const size_t last = cell.find_last_not_of(' ');
            cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
        }
        static const std::regex by("by nvcc ([0-9.]+)");
        std::smatch match;
        if (line.rfind("# kernel", 0) == 0) {
            for (size_t i = 1; i + 1 < cells.size(); ++i) architectures.push_back(cells[i]);
        } else if (line.rfind("#", 0) == 0) {
            if (std::regex_search(line, match, by)) compiler = match[1];
        } else if (cells.size() > architectures.size()) {
            for (size_t i = 0; i < architectures.size(); ++i) {
                if (cells[i + 1] == "-") continue;
                kernels[cells[0]][architectures[i]].registers = std::stoi(cells[i + 1]);
            }
            std::istringstream local(cells.size() > architectures.size() + 1 ? cells.back() : "");
            std::string architecture, word;
            int stack = 0, spills = 0;
            while (local >> architecture >> word >> stack >> word >> spills) {
                kernels[cells[0]][architecture].stack = stack;
                kernels[cells[0]][architecture].spills = spills;
            }
        }
    }
    return kernels;
}

// What is wrong, a line each. Registers are only compared where the compiler is the table's.
inline std::vector<std::string> differences(const Kernels& built, const Kernels& expected,
                                            bool same_compiler) {
    std::vector<std::string> wrong;
    for (const auto& [kernel, uses] : built) {
        const auto known = expected.find(kernel);
        if (known == expected.end()) wrong.push_back(kernel + ": is not in the table");
        for (const auto& [architecture, use] : uses) {
            Use listed;
            const std::string where = kernel + " for " + architecture + ": ";
            if (known != expected.end()) {
                const auto found = known->second.find(architecture);
                if (found == known->second.end()) {
                    wrong.push_back(where + "is not in the table");
                } else {
                    listed = found->second;
                    if (same_compiler && use.registers != listed.registers) {
                        wrong.push_back(where + std::to_string(use.registers) +
                                        " registers, the table has " +
                                        std::to_string(listed.registers));
                    }
                }
            }
            if (use.stack > listed.stack || use.spills > listed.spills) {
                wrong.push_back(where + "uses " + std::to_string(use.stack) +
                                " bytes of stack and spills " + std::to_string(use.spills) +
                                ", allowed are " + std::to_string(listed.stack) + " and " +
                                std::to_string(listed.spills));
            }
        }
    }
    for (const auto& [kernel, uses] : expected) {
        if (built.count(kernel) == 0) wrong.push_back(kernel + ": is in the table, but not built");
    }
    return wrong;
}

// How many kernels an op has compiled: those of the sources whose names begin with its name.
inline size_t kernels_of(const Kernels& kernels, const std::string& op) {
    size_t count = 0;
    for (const auto& [kernel, uses] : kernels) count += kernel.rfind(op, 0) == 0 ? 1 : 0;
    return count;
}

// Whether a kernel must use warpgroup matrix instructions: those for sm_90a say so in their names.
inline bool needs_warpgroups(const std::string& kernel) {
    return kernel.find("sm90") != std::string::npos;
}

// Kernels in whose bodies `instruction` stands, of PTX (".entry NAME") or disassembled machine code
// ("Function : NAME"). Without their source: machine code does not tell it.
inline std::set<std::string> kernels_with(std::istream& code, const std::string& instruction) {
    static const std::regex entry("(?:\\.entry\\s+|Function : )(\\w+)");
    std::set<std::string> found;
    std::string line, kernel;
    std::smatch match;
    while (std::getline(code, line)) {
        if (std::regex_search(line, match, entry)) {
            kernel = short_name(match[1]);
        } else if (!kernel.empty() && line.find(instruction) != std::string::npos) {
            found.insert(kernel);
        }
    }
    return found;
}

}  // namespace compiled
