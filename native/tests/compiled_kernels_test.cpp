// The check of compiled kernels. Without arguments it plants every fault that the check must find.
//
//   compiled_kernels_test --compiler VERSION --table FILE [--refresh] OBJECT.report...
//   [FILE.ptx...]
//
// holds the reports of a build against the table: a kernel that is not in it, other registers than
// in it, local memory that it does not allow, a kernel for sm_90a without warpgroup instructions or
// with arrivals that wait for the whole device, and more kernels of attention than were agreed on.
#include "tests/compiled_kernels.h"

#include "tests/harness.h"

namespace {

// Of one binary for every architecture: each takes seconds to compile and is loaded by every run.
constexpr size_t kMostAttentionKernels = 40;

const char* const kReport =
    "ptxas info    : 0 bytes gmem\n"
    "ptxas info    : Compiling entry function "
    "'_ZN7caravan4cuda12_GLOBAL__N_114add_fwd_kernelINS_4tile4bf16ELi8EEEvPKT_S6_PS4_l' for "
    "'sm_80'\n"
    "ptxas info    : Function properties for "
    "_ZN7caravan4cuda12_GLOBAL__N_114add_fwd_kernelINS_4tile4bf16ELi8EEEvPKT_S6_PS4_l\n"
    "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
    "ptxas info    : Used 24 registers, used 0 barriers, 384 bytes cmem[0]\n";
const char* const kName = "add/add_fwd_kernel<bf16, 8>";

compiled::Kernels parsed(std::string text, const std::string& from = "",
                         const std::string& to = "") {
    if (!from.empty()) text.replace(text.find(from), from.size(), to);
    std::istringstream report(text);
    compiled::Kernels kernels;
    compiled::read_report(report, "add", kernels);
    return kernels;
}

void reads_a_report() {
    const compiled::Kernels kernels = parsed(kReport);
    CHECK_EQUAL(kernels.size(), size_t{1});
    if (!CHECK(kernels.count(kName) == 1)) return;
    const compiled::Use use = kernels.at(kName).at("sm_80");
    CHECK_EQUAL(use.registers, 24);
    CHECK_EQUAL(use.stack, 0);
    CHECK_EQUAL(use.spills, 0);
}

void writes_and_reads_the_table() {
    compiled::Kernels kernels = parsed(kReport);
    kernels["other"]["sm_90a"] = {255, 16, 8};
    std::istringstream text(compiled::table(kernels, "13.0.88"));
    std::string compiler;
    const compiled::Kernels again = compiled::read_table(text, compiler);
    CHECK(compiler == "13.0.88");
    CHECK_EQUAL(again.size(), size_t{2});
    CHECK(compiled::differences(kernels, again, true).empty());
    CHECK_EQUAL(again.at("other").at("sm_90a").spills, 8);
    CHECK(again.at("other").count("sm_80") == 0);
}

void finds_planted_faults() {
    const compiled::Kernels table = parsed(kReport);
    const auto first = [&](const compiled::Kernels& built, bool same = true) {
        const auto wrong = compiled::differences(built, table, same);
        return wrong.empty() ? std::string() : wrong.front();
    };
    CHECK(first(table).empty());
    CHECK(first(parsed(kReport, "Used 24", "Used 25")).find("25 registers, the table has 24") !=
          std::string::npos);
    CHECK(first(parsed(kReport, "Used 24", "Used 25"), false).empty());  // another compiler
    CHECK(first(parsed(kReport, "    0 bytes stack", "    8 bytes stack"), false)
              .find("uses 8 bytes of stack") != std::string::npos);
    CHECK(first(parsed(kReport, "0 bytes spill stores", "4 bytes spill stores"), false)
              .find("spills 4") != std::string::npos);
    CHECK(first(parsed(kReport, "for 'sm_80'", "for 'sm_75'")).find("not in the table") !=
          std::string::npos);
    CHECK(
        first(parsed(kReport, "114add_fwd_kernel", "114new_fwd_kernel")).find("not in the table") !=
        std::string::npos);
    CHECK(first(compiled::Kernels()).find("not built") != std::string::npos);
}

void finds_kernels_without_warpgroups() {
    std::istringstream ptx(
        ".visible .entry with_sm90_kernel(\n)\n{\n wgmma.mma_async.sync.aligned.m64n64k16;\n}\n"
        ".visible .entry without_sm90_kernel(\n)\n{\n mma.sync.aligned;\n}\n");
    const auto found = compiled::kernels_with(ptx, "wgmma.mma_async");
    CHECK_EQUAL(found.size(), size_t{1});
    CHECK(found.count("with_sm90_kernel") == 1);
    std::istringstream machine(
        "\t\tFunction : with_sm90_kernel\n  /*0010*/ HGMMA.64x64x16.F32.BF16 R24 ;\n");
    CHECK(compiled::kernels_with(machine, "HGMMA").count("with_sm90_kernel") == 1);
    CHECK(compiled::needs_warpgroups("x/without_sm90_kernel"));
    CHECK(!compiled::needs_warpgroups(kName));
}

void counts_an_ops_kernels() {
    compiled::Kernels kernels = parsed(kReport);
    kernels["attention_plain/forward_kernel<float>"];
    kernels["attention_sums/forward_kernel<float>"];
    CHECK_EQUAL(compiled::kernels_of(kernels, "attention"), size_t{2});
    CHECK_EQUAL(compiled::kernels_of(kernels, "add"), size_t{1});
    CHECK_EQUAL(compiled::kernels_of(kernels, "rope"), size_t{0});
}

// "…/rmsnorm.cu.o.report" and "…/rmsnorm.ptx" are both of rmsnorm.
std::string stem(const std::string& path) {
    const size_t slash = path.rfind('/');
    const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
    return name.substr(0, name.find('.'));
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string without_source(const std::string& kernel) {
    return kernel.substr(kernel.find('/') + 1);
}

void check_warpgroups(const compiled::Kernels& built, const std::set<std::string>& having,
                      const char* what) {
    for (const auto& [kernel, uses] : built) {
        if (compiled::needs_warpgroups(kernel) && uses.count("sm_90a") == 1) {
            test::check(having.count(without_source(kernel)) == 1, __FILE__, __LINE__,
                        kernel + ": has no " + what);
        }
    }
}

// What a command prints.
std::string output(const std::string& command) {
    std::string text;
    FILE* pipe = popen(command.c_str(), "r");
    if (!CHECK(pipe != nullptr)) return text;
    char part[4096];
    for (size_t got; (got = std::fread(part, 1, sizeof part, pipe)) > 0;) text.append(part, got);
    CHECK_EQUAL(pclose(pipe), 0);
    return text;
}

// A release to a whole cluster is made of MEMBAR.ALL.GPU, which waits for the device.
constexpr const char* kReleasingArrival = "mbarrier.arrive.release.cluster";

void check_arrivals(const std::set<std::string>& kernels) {
    for (const auto& kernel : kernels) {
        test::check(false, kernel.c_str(), 1, std::string("has ") + kReleasingArrival);
    }
}

int check_build(int count, char** words) {
    std::string compiler, path, disassembler, library;
    bool refresh = false;
    compiled::Kernels built;
    std::set<std::string> warpgroups;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        if (word == "--compiler" && i + 1 < count) {
            compiler = words[++i];
        } else if (word == "--table" && i + 1 < count) {
            path = words[++i];
        } else if (word == "--cuobjdump" && i + 1 < count) {
            disassembler = words[++i];
        } else if (word == "--library" && i + 1 < count) {
            library = words[++i];
        } else if (word == "--refresh") {
            refresh = true;
        } else {
            std::ifstream file(word);
            if (!CHECK(file.good())) std::fprintf(stderr, "cannot read %s\n", word.c_str());
            if (ends_with(word, ".ptx")) {
                warpgroups.merge(compiled::kernels_with(file, "wgmma.mma_async"));
                file.clear();
                file.seekg(0);
                check_arrivals(compiled::kernels_with(file, kReleasingArrival));
            } else {
                compiled::read_report(file, stem(word), built);
            }
        }
    }
    CHECK(!built.empty());
    if (refresh) {
        std::ofstream(path) << compiled::table(built, compiler);
        return test::finish();
    }
    std::ifstream file(path);
    std::string known;
    const compiled::Kernels expected = compiled::read_table(file, known);
    if (known != compiler) {
        std::printf("registers are not compared: the table is of nvcc %s, this is %s\n",
                    known.c_str(), compiler.c_str());
    }
    for (const auto& line : compiled::differences(built, expected, known == compiler)) {
        test::check(false, path.c_str(), 1, line + " (target refresh_registers writes the table)");
    }
    const size_t attention = compiled::kernels_of(built, "attention");
    CHECK(attention > 0 && attention <= kMostAttentionKernels);
    check_warpgroups(built, warpgroups, "wgmma in its PTX");
    if (disassembler.empty()) {
        std::printf("machine code is not looked at: there is no cuobjdump\n");
    } else {
        std::istringstream code(
            output(disassembler + " -arch sm_90a --dump-sass '" + library + "'"));
        check_warpgroups(built, compiled::kernels_with(code, "HGMMA"), "HGMMA in its machine code");
    }
    std::printf("%zu kernels, %zu of attention\n", built.size(), attention);
    return test::finish();
}

}  // namespace

int main(int count, char** words) {
    if (count > 1) return check_build(count, words);
    reads_a_report();
    writes_and_reads_the_table();
    finds_planted_faults();
    finds_kernels_without_warpgroups();
    counts_an_ops_kernels();
    return test::finish();
}
