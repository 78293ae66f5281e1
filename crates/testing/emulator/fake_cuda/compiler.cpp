// NVRTC for the emulated device: g++ compiles the text of kernels behind `cuda_on_host.h`.
//
// Compiled kernels stay in the folder FAKE_CUDA_CACHE, by the hash of their text, for all processes. What a program
// gets as PTX or CUBIN is a text that says where they are.
#include "fake_cuda.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include <map>
#include <set>
#include <vector>

extern char **environ;

namespace fake {

// Codes of NVRTC (`nvrtc.h`, nvrtcResult).
enum CompilerStatus {
  COMPILER_SUCCESS = 0,
  COMPILER_INVALID_INPUT = 3,
  COMPILER_INVALID_PROGRAM = 4,
  COMPILER_INVALID_OPTION = 5,
  COMPILER_COMPILATION = 6,
};

struct Program {
  std::string name, text, log, ptx, cubin;
  bool compiled;
};

// --- Reading the text -----------------------------------------------------------------------------------------------

// A function of the text: which names it mentions tells whether threads wait for each other.
struct Piece {
  std::string name;
  bool kernel;
  // Whether it can be found by its name.
  bool plain_name;
  std::set<std::string> words;
};

static bool is_letter(char c) { return isalpha((unsigned char)c) || c == '_'; }

// Splits a text that went through the preprocessor into words and marks.
static std::vector<std::string> tokens_of(const std::string &text) {
  std::vector<std::string> tokens;
  for (size_t at = 0; at < text.size();) {
    size_t start = at;
    char c = text[at++];
    if (isspace((unsigned char)c)) continue;
    if (is_letter(c)) {
      while (at < text.size() && (is_letter(text[at]) || isdigit((unsigned char)text[at]))) at++;
    } else if (isdigit((unsigned char)c)) {
      while (at < text.size() && (isalnum((unsigned char)text[at]) || text[at] == '.')) at++;
    } else if (c == '"' || c == '\'') {
      while (at < text.size() && text[at] != c) at += text[at] == '\\' ? 2 : 1;
      at++;
    }
    tokens.push_back(text.substr(start, at - start));
  }
  return tokens;
}

// The name of what a body follows: the word before the last pair of parentheses, or the last word if there is none.
static std::string name_of(const std::vector<std::string> &head) {
  int depth = 0;
  bool parameters = false;
  for (size_t i = head.size(); i-- > 0;) {
    if (head[i] == ")") {
      depth++;
      parameters = true;
    } else if (head[i] == "(") {
      depth--;
    } else if (depth == 0 && is_letter(head[i][0])) {
      return head[i];
    } else if (depth == 0 && !parameters && head[i] == ")") {
      break;
    }
  }
  return "";
}

static bool has(const std::vector<std::string> &head, const char *word) {
  for (auto &token : head)
    if (token == word) return true;
  return false;
}

static std::vector<Piece> pieces_of(const std::string &text) {
  std::vector<Piece> pieces;
  std::vector<std::string> head;
  int depth = 0, around = 0;
  bool plain_block = false;
  for (auto &token : tokens_of(text)) {
    if (depth > 0) {
      if (token == "{") depth++;
      if (token == "}") depth--;
      if (is_letter(token[0])) pieces.back().words.insert(token);
      if (depth == 0) head.clear();
    } else if (token == "{" && !has(head, "(") && (has(head, "\"C\"") || has(head, "namespace"))) {
      // What stands in such braces stands outside as well.
      plain_block |= has(head, "\"C\"");
      around++;
      head.clear();
    } else if (token == "{") {
      bool plain = plain_block || has(head, "\"C\"");
      pieces.push_back(Piece{name_of(head), has(head, "__global__"), plain, {}});
      depth = 1;
    } else if (token == "}") {
      if (--around == 0) plain_block = false;
      head.clear();
    } else if (token == ";") {
      head.clear();
    } else {
      head.push_back(token);
    }
  }
  return pieces;
}

// Says whether a word is one at which threads wait for each other.
static bool is_meeting(const std::string &word) {
  for (const char *prefix : {"__sync", "__shfl", "__ballot", "__any_sync", "__all_sync", "emulator"})
    if (word.compare(0, strlen(prefix), prefix) == 0) return true;
  return false;
}

// Says whether threads wait for each other in a function, or in one that it may call.
static bool meets(const std::vector<Piece> &pieces, const Piece &piece, std::set<std::string> &seen) {
  for (auto &word : piece.words) {
    if (is_meeting(word)) return true;
    if (!seen.insert(word).second) continue;
    for (auto &other : pieces)
      if (other.name == word && meets(pieces, other, seen)) return true;
  }
  return false;
}

// Replaces `extern __shared__ TYPE NAME[];`, which C++ cannot say, by a pointer to that memory.
static std::string with_dynamic_shared(std::string text) {
  for (size_t at = 0; (at = text.find("extern", at)) != std::string::npos; at++) {
    size_t shared = text.find_first_not_of(" \t\n", at + 6);
    const std::string word = "__shared__";
    if (shared == std::string::npos || text.compare(shared, word.size(), word) != 0) continue;
    size_t bracket = text.find('[', shared), end = text.find(';', shared);
    if (bracket == std::string::npos || end == std::string::npos || bracket > end) continue;
    std::string declared = text.substr(shared + word.size(), bracket - shared - word.size());
    for (const char *alignment : {"__align__", "alignas"}) {
      size_t from = declared.find(alignment), to = declared.find(')', from == std::string::npos ? 0 : from);
      if (from != std::string::npos && to != std::string::npos) declared.erase(from, to + 1 - from);
    }
    size_t last = declared.find_last_not_of(" \t\n"), before = last;
    while (before > 0 && (is_letter(declared[before]) || isdigit((unsigned char)declared[before]))) before--;
    std::string type = declared.substr(0, before + 1), name = declared.substr(before + 1, last - before);
    text.replace(at, end - at, type + " *" + name + " = (" + type + " *)emulator::dynamic_shared");
  }
  return text;
}

// --- Compiling ------------------------------------------------------------------------------------------------------

static bool write_file(const std::string &path, const std::string &text) {
  FILE *file = fopen(path.c_str(), "w");
  if (!file) return false;
  bool whole = fwrite(text.data(), 1, text.size(), file) == text.size();
  return fclose(file) == 0 && whole;
}

static std::string read_file(const std::string &path) {
  std::string text;
  if (FILE *file = fopen(path.c_str(), "r")) {
    char part[4096];
    while (size_t bytes = fread(part, 1, sizeof part, file)) text.append(part, bytes);
    fclose(file);
  }
  return text;
}

// Runs g++. Its words go to the file `log`.
static bool run_compiler(std::vector<std::string> arguments, const std::string &log) {
  arguments.insert(arguments.begin(), "g++");
  std::vector<char *> pointers;
  for (auto &argument : arguments) pointers.push_back(&argument[0]);
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  pid_t child;
  int failed = posix_spawnp(&child, "g++", &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) {
    write_file(log, "g++ cannot be started");
    return false;
  }
  int status;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Compiles to the file `library`; returns what is wrong with the text, or nothing.
static std::string compile(const Program &program, const std::vector<std::string> &defines, const std::string &library) {
  std::string own = library + "." + std::to_string(getpid()), log = own + ".log", headers = "-I" FAKE_CUDA_HEADERS;
  struct Files {
    std::string stem;
    ~Files() {
      for (const char *extension : {".cu", ".ii", ".cpp", ".log", ".so"}) unlink((stem + extension).c_str());
    }
  } files{own};
  if (!write_file(own + ".cu", program.text)) return "the folder of compiled kernels cannot be written";
  // Macros may make kernels, so they are looked for where macros are gone.
  std::vector<std::string> arguments = {"-E", "-P", "-x", "c++", "-std=c++17", "-DFAKE_CUDA_SCAN", headers};
  arguments.insert(arguments.end(), defines.begin(), defines.end());
  arguments.insert(arguments.end(), {"-o", own + ".ii", own + ".cu"});
  if (!run_compiler(arguments, log)) return read_file(log);
  std::vector<Piece> pieces = pieces_of(read_file(own + ".ii"));
  std::string text = "#include \"cuda_on_host.h\"\n#line 1 \"" + program.name + "\"\n" +
                     with_dynamic_shared(program.text) + "\n";
  std::vector<std::string> kernels;
  for (auto &piece : pieces) {
    if (!piece.kernel || !piece.plain_name) continue;
    std::set<std::string> seen;
    const char *coroutines = meets(pieces, piece, seen) ? "true" : "false";
    const std::string &name = piece.name;
    kernels.push_back(name);
    text += "extern \"C\" const char *emulate_" + name +
            "(const unsigned *d, size_t shared_bytes, void **values, int order) {\n"
            "  return emulator::launch([](void **values) { emulator::call(::" + name + ", values); },\n"
            "    Index{d[0], d[1], d[2]}, Index{d[3], d[4], d[5]}, shared_bytes, values, order, " + coroutines +
            ");\n}\n"
            "extern \"C\" int sizes_of_" + name + "(size_t *sizes) { return emulator::sizes_of_values(::" + name +
            ", sizes); }\n";
  }
  if (!write_file(own + ".cpp", text)) return "the folder of compiled kernels cannot be written";
  // Kernels of two libraries may have one name, and each library has its own shared memory.
  arguments = {"-std=c++17", "-O2", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-fno-gnu-unique", "-Wl,-Bsymbolic",
               headers};
  arguments.insert(arguments.end(), defines.begin(), defines.end());
  arguments.insert(arguments.end(), {"-o", own + ".so", own + ".cpp"});
  if (!run_compiler(arguments, log)) return read_file(log);
  for (auto &kernel : kernels)
    if (shared_bytes_of((own + ".so").c_str(), kernel) > SHARED_BYTES)
      return "ptxas error   : Entry function '" + kernel + "' uses too much shared data";
  if (rename((own + ".so").c_str(), library.c_str()) != 0) return "the folder of compiled kernels cannot be written";
  return "";
}

// Options that change nothing here, up to their value.
static const char *const OTHER_OPTIONS[] = {
    "--include-path", "-I", "--std", "-std", "--fmad", "-fmad", "--use_fast_math", "-use_fast_math", "--ftz", "-ftz",
    "--prec-sqrt", "-prec-sqrt", "--prec-div", "-prec-div", "--maxrregcount", "-maxrregcount", "--ptxas-options",
    "-Xptxas", "--generate-line-info", "-lineinfo", "--default-device", "-default-device", "--restrict", "-restrict",
    "--disable-warnings", "-w", "--extra-device-vectorization", "--dopt", "-dopt", "--diag-suppress", "-diag-suppress",
};

static bool is_other_option(const std::string &option) {
  for (const char *known : OTHER_OPTIONS) {
    size_t length = strlen(known);
    bool begins = option.compare(0, length, known) == 0;
    if (begins && (option.size() == length || option[length] == '=' || strcmp(known, "-I") == 0)) return true;
  }
  return false;
}

// What options say.
struct Options {
  int architecture = 52;
  bool assembled = false;
  std::vector<std::string> defines;
};

static std::string read_options(int count, const char *const *all, Options &options) {
  for (int i = 0; i < count; i++) {
    std::string option = all[i], value;
    for (const char *name : {"--gpu-architecture", "-arch"})
      if (option == name && i + 1 < count) value = all[++i];
      else if (option.compare(0, strlen(name) + 1, std::string(name) + "=") == 0) value = option.substr(strlen(name) + 1);
    if (!value.empty()) {
      char kind[8];
      int read = sscanf(value.c_str(), "%7[a-z]_%d", kind, &options.architecture);
      bool known = read == 2 && (strcmp(kind, "sm") == 0 || strcmp(kind, "compute") == 0) &&
                   options.architecture >= 50 && options.architecture <= 120;
      if (!known) return "nvrtc: error: invalid value for --gpu-architecture (-arch)\n";
      options.assembled = strcmp(kind, "sm") == 0;
    } else if (option.compare(0, 2, "-D") == 0 && option.size() > 2) {
      options.defines.push_back(option);
    } else if (option.compare(0, 15, "--define-macro=") == 0) {
      options.defines.push_back("-D" + option.substr(15));
    } else if (!is_other_option(option)) {
      return "nvrtc: error: unrecognized option " + option + " found\n";
    }
  }
  return "";
}

static std::string image(const char *kind, int architecture, const std::string &library) {
  return std::string("fake CUDA ") + kind + " " + std::to_string(architecture) + "\n" + library + "\nend\n";
}

static int compile_program(Program &program, int count, const char *const *all) {
  counts.compiles++;
  Options options;
  program.log = read_options(count, all, options);
  if (!program.log.empty()) return COMPILER_INVALID_OPTION;
  if (number_from("FAKE_CUDA_FAIL_COMPILE", 0)) {
    program.log = program.name + "(1): error: FAKE_CUDA_FAIL_COMPILE is set\n";
    return COMPILER_COMPILATION;
  }
  std::string key = FAKE_CUDA_HASH + program.name + "\n" + program.text;
  for (auto &define : options.defines) key += "\n" + define;
  char number[32];
  snprintf(number, sizeof number, "%016zx", std::hash<std::string>()(key));
  std::string library = std::string(FAKE_CUDA_CACHE "/fake-kernels-") + number + ".so";
  // One process compiles, others wait for it.
  int file = open((library + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file >= 0) flock(file, LOCK_EX);
  if (access(library.c_str(), R_OK) != 0) program.log = compile(program, options.defines, library);
  if (file >= 0) close(file);
  if (!program.log.empty()) return COMPILER_COMPILATION;
  program.compiled = true;
  program.ptx = image("ptx", options.architecture, library);
  if (options.assembled) program.cubin = image("cubin", options.architecture, library);
  return COMPILER_SUCCESS;
}

static std::set<Program *> programs;

static int give_size(const std::string &text, size_t *size) {
  *size = text.size() + 1;
  return COMPILER_SUCCESS;
}

static int give(const std::string &text, char *to) {
  memcpy(to, text.c_str(), text.size() + 1);
  return COMPILER_SUCCESS;
}

}

using namespace fake;

API int nvrtcVersion(int *major, int *minor) {
  *major = 12;
  *minor = 8;
  return COMPILER_SUCCESS;
}

API int nvrtcCreateProgram(Program **program, const char *text, const char *name, int headers, const char *const *,
                           const char *const *) {
  Guard guard(lock);
  if (!text || headers != 0) return COMPILER_INVALID_INPUT;
  *program = new Program{name ? name : "default_program", text, "", "", "", false};
  programs.insert(*program);
  return COMPILER_SUCCESS;
}

API int nvrtcDestroyProgram(Program **program) {
  Guard guard(lock);
  if (!programs.erase(*program)) return COMPILER_INVALID_PROGRAM;
  delete *program;
  *program = nullptr;
  return COMPILER_SUCCESS;
}

API int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
  Guard guard(lock);
  if (!programs.count(program)) return COMPILER_INVALID_PROGRAM;
  return compile_program(*program, count, options);
}

API int nvrtcGetPTXSize(Program *program, size_t *size) {
  if (!programs.count(program) || !program->compiled) return COMPILER_INVALID_PROGRAM;
  return give_size(program->ptx, size);
}
API int nvrtcGetPTX(Program *program, char *ptx) {
  if (!programs.count(program) || !program->compiled) return COMPILER_INVALID_PROGRAM;
  return give(program->ptx, ptx);
}

// There is none for an architecture that is not a device's.
API int nvrtcGetCUBINSize(Program *program, size_t *size) {
  if (!programs.count(program) || !program->compiled) return COMPILER_INVALID_PROGRAM;
  *size = program->cubin.empty() ? 0 : program->cubin.size() + 1;
  return COMPILER_SUCCESS;
}
API int nvrtcGetCUBIN(Program *program, char *cubin) {
  if (!programs.count(program) || program->cubin.empty()) return COMPILER_INVALID_PROGRAM;
  return give(program->cubin, cubin);
}

API int nvrtcGetProgramLogSize(Program *program, size_t *size) {
  if (!programs.count(program)) return COMPILER_INVALID_PROGRAM;
  return give_size(program->log, size);
}
API int nvrtcGetProgramLog(Program *program, char *log) {
  if (!programs.count(program)) return COMPILER_INVALID_PROGRAM;
  return give(program->log, log);
}

API const char *nvrtcGetErrorString(int status) {
  switch (status) {
    case COMPILER_SUCCESS: return "NVRTC_SUCCESS";
    case COMPILER_INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
    case COMPILER_INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case COMPILER_INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    case COMPILER_COMPILATION: return "NVRTC_ERROR_COMPILATION";
    default: return "NVRTC_ERROR unknown";
  }
}
