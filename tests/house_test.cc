// The rules of the house as a test: who may include whom, one door per library, pure files pure,
// and nothing left lying about. Each rule is a function over (path, text) so that each also has an
// example here that breaks it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using Tree = std::map<std::string, std::string>;  // path from the root -> text
using Complaints = std::vector<std::string>;

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

bool EndsWith(const std::string& text, const std::string& suffix) {
  return text.size() >= suffix.size() &&
         text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

bool IsCode(const std::string& path) {
  return EndsWith(path, ".cc") || EndsWith(path, ".h");
}

bool IsTest(const std::string& path) {
  return EndsWith(path, "_test.cc") || StartsWith(path, "tests/") ||
         StartsWith(path, "bridge/core/story") || EndsWith(path, "bridge/core/history_watch.h");
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> Includes(const std::string& text) {
  static const std::regex include(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"])");
  std::vector<std::string> found;
  for (const std::string& line : Lines(text)) {
    std::smatch match;
    if (std::regex_search(line, match, include)) {
      found.push_back(match[1]);
    }
  }
  return found;
}

Tree ReadTree() {
  namespace fs = std::filesystem;
  Tree tree;
  const fs::path root = LK_SOURCE_DIR;
  for (const char* folder : {"proto", "plugins", "bridge", "storage", "tools", "tests", "deploy"}) {
    for (fs::recursive_directory_iterator it(root / folder), end; it != end; ++it) {
      const std::string name = it->path().filename().string();
      if (it->is_directory() && (name == "node_modules" || name == "corpus")) {
        it.disable_recursion_pending();
        continue;
      }
      const bool text = IsCode(name) || EndsWith(name, ".proto") || EndsWith(name, ".md") ||
                        name == "CMakeLists.txt";
      if (it->is_regular_file() && text) {
        std::ifstream file(it->path(), std::ios::binary);
        std::ostringstream bytes;
        bytes << file.rdbuf();
        tree[fs::relative(it->path(), root).string()] = bytes.str();
      }
    }
  }
  for (const char* name : {"README.md", "ARCHITECTURE.md", "CMakeLists.txt"}) {
    std::ifstream file(root / name, std::ios::binary);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    tree[name] = bytes.str();
  }
  return tree;
}

// Rows of the matrix in ARCHITECTURE.md: what files below `who` may include of ours, first match
// wins.
struct Row {
  std::string who;
  std::vector<std::string> may;
};

const std::vector<Row>& Matrix() {
  static const std::vector<Row> rows = {
      {"proto/", {"proto/"}},
      {"plugins/", {"proto/", "plugins/"}},
      {"storage/", {"proto/", "storage/"}},
      {"bridge/core/", {"proto/", "storage/records.h", "storage/migration.h", "bridge/core/"}},
      {"bridge/main.cc", {"proto/", "storage/", "bridge/"}},
      {"bridge/main_backup", {"proto/", "storage/", "bridge/"}},
      {"bridge/",
       {"proto/", "storage/backup.h", "storage/records.h", "storage/store.h", "storage/follower.h",
        "bridge/"}},
      {"tools/car/", {"proto/", "tools/car/", "tools/mqtt/"}},
      {"tools/phone/", {"proto/", "tools/phone/", "tools/mqtt/"}},
      {"tools/mqtt/", {"proto/", "tools/mqtt/"}},
      {"tools/ca/", {"proto/", "tools/ca/"}},
      {"tools/fleet/", {"proto/", "tools/fleet/", "tools/car/", "tools/mqtt/"}},
      {"tools/import/", {"proto/", "tools/import/", "tools/car/signals.h"}},
      {"tools/bench/",
       {"proto/", "plugins/rate.h", "plugins/auth/", "storage/records.h", "storage/store.h",
        "storage/rocksdb_store.h", "tools/"}},
      {"tools/latchkey/", {"proto/", "storage/", "tools/"}},
  };
  return rows;
}

Complaints CheckIncludes(const Tree& tree) {
  Complaints complaints;
  static const std::regex ours("^(proto|plugins|storage|bridge|tools|tests)/");
  for (const auto& [path, text] : tree) {
    if (!IsCode(path) || IsTest(path)) {
      continue;
    }
    const auto row = std::find_if(Matrix().begin(), Matrix().end(),
                                  [&](const Row& r) { return StartsWith(path, r.who); });
    if (row == Matrix().end()) {
      complaints.push_back(path + ": no row of the matrix names its folder");
      continue;
    }
    for (const std::string& include : Includes(text)) {
      const bool allowed =
          std::any_of(row->may.begin(), row->may.end(),
                      [&](const std::string& may) { return StartsWith(include, may); });
      if (std::regex_search(include, ours) && !allowed) {
        complaints.push_back(path + " includes " + include);
      }
    }
  }
  return complaints;
}

// One library (by a regex over its headers) and the only files that may open it.
struct Door {
  std::string header;
  std::vector<std::string> files;
};

const std::vector<Door>& Doors() {
  static const std::vector<Door> doors = {
      {"^mosquitto", {"plugins/mosquitto.h", "plugins/mosquitto.cc"}},
      {"^(mqtt/|MQTTAsync|MQTTClient)",
       {"bridge/mqtt.cc", "bridge/mqtt_impl.h", "bridge/mqtt_answers.cc", "tools/mqtt/"}},
      {"^rocksdb/",
       {"storage/rocksdb_store.cc", "storage/rocksdb_backup.cc", "storage/rocksdb_rows.cc",
        "storage/rocksdb_rows.h", "storage/rocksdb_schema.cc", "storage/rocksdb_checkpoint.cc",
        "storage/rocksdb_figures.cc", "storage/rocksdb_files.cc", "storage/rocksdb_log.cc",
        "storage/rocksdb_log.h", "storage/rocksdb_follower.cc"}},
      {"^absl/", {"plugins/auth/sessions.h", "plugins/auth/directory.h", "plugins/rate.h"}},
      {"^openssl/",
       {"proto/crypto.cc", "proto/certificate.cc", "tools/ca/ca.cc", "tools/bench/channel.cc"}},
      {"^httplib\\.h", {"bridge/http.cc", "bridge/sms_http.cc", "tools/latchkey/api.cc"}},
      {"^spdlog/", {"bridge/log.cc"}},
      {"^toml\\+\\+|^toml", {"bridge/config.cc"}},
      {"^CLI/", {"tools/latchkey/", "bridge/main.cc"}},
      {"^nlohmann/",
       {"tools/latchkey/", "tools/import/", "tools/bench/report.cc", "tools/bench/brokers.cc",
        "bridge/http_import.cc", "bridge/http.cc", "bridge/http_backup.cc", "bridge/http_cars.cc",
        "bridge/http_erase.cc", "bridge/http_export.cc", "bridge/http_links.cc",
        "bridge/http_log.cc", "bridge/http_history.cc", "bridge/http_migration.cc",
        "bridge/sms_http.cc", "bridge/contacts_folder.cc", "proto/token.cc"}},
      {"^prometheus/", {"bridge/metrics.cc"}},
      {"^qrencode", {"tools/latchkey/qr.cc"}},
      {"^zlib", {"tools/fleet/file.cc"}},
      {"^(thread|mutex|condition_variable|shared_mutex|future)$",
       {"bridge/backup_desk.h",
        "bridge/queue.h",
        "bridge/runner.h",
        "bridge/runner.cc",
        "bridge/http.cc",
        "bridge/mqtt_impl.h",
        "bridge/main.cc",
        "bridge/figures.h",
        "bridge/hand_over.h",
        "bridge/contacts_watch.h",
        "bridge/import_desk.h",
        "bridge/migration_desk.h",
        "bridge/sms.h",
        "bridge/sms.cc",
        "tools/bench/case_storm.cc",
        "tools/mqtt/",
        "storage/rocksdb_rows.h",
        "storage/rocksdb_files.cc",
        "storage/rocksdb_log.cc",
        "storage/typed_store.h"}},
  };
  return doors;
}

Complaints CheckDoors(const Tree& tree) {
  Complaints complaints;
  for (const auto& [path, text] : tree) {
    if (!IsCode(path) || IsTest(path)) {
      continue;
    }
    for (const std::string& include : Includes(text)) {
      for (const Door& door : Doors()) {
        const bool open = std::any_of(door.files.begin(), door.files.end(), [&](const auto& file) {
          return path == file || (EndsWith(file, "/") && StartsWith(path, file));
        });
        if (!open && std::regex_search(include, std::regex(door.header))) {
          complaints.push_back(path + " opens a second door to " + include);
        }
      }
    }
  }
  return complaints;
}

bool IsPure(const std::string& path) {
  static const std::regex pure(
      "^(proto/(?!crypto|no_delay)|plugins/auth/"
      "(identity|directory|access|admission|sessions|control|events|taps|teller)\\.|plugins/"
      "rate\\.|"
      "plugins/guard/(check|limits)\\.|"
      "bridge/core/|storage/"
      "(records|bytes|rows|row_bytes|command_rows|log_rows|shape|shaped_reader|"
      "migration|migrations|schema_state|migrator|compare)\\.|tools/car/(?!car_mqtt)|tools/phone/"
      "|tools/import/|"
      "tools/fleet/drive)");
  return IsCode(path) && !IsTest(path) && std::regex_search(path, pure);
}

Complaints CheckPure(const Tree& tree) {
  static const std::regex banned(
      R"(::now\(|getenv|std::rand\b|random_device|std::ifstream|std::ofstream|fopen\(|std::cout|std::cerr|printf\(|spdlog|std::thread|std::mutex|\bsocket\(|\bthrow\b|RandomBytes\()");
  static const std::regex comment(R"(//.*$)");
  Complaints complaints;
  for (const auto& [path, text] : tree) {
    if (!IsPure(path) || path == "proto/result.h") {  // result.h throws Fault: LK_ASSERT
      continue;
    }
    for (const std::string& line : Lines(text)) {
      const std::string code = std::regex_replace(line, comment, "");
      std::smatch match;
      if (std::regex_search(code, match, banned)) {
        complaints.push_back(path + " is pure but says " + match[0].str() + ": " + line);
      }
    }
  }
  return complaints;
}

Complaints CheckSizes(const Tree& tree) {
  Complaints complaints;
  for (const auto& [path, text] : tree) {
    if (!IsCode(path)) {
      continue;
    }
    const std::vector<std::string> lines = Lines(text);
    const size_t most = IsTest(path) ? 800 : 500;
    if (lines.size() > most) {
      complaints.push_back(path + " has " + std::to_string(lines.size()) + " lines, at most " +
                           std::to_string(most));
    }
    if (lines.empty() || !StartsWith(lines[0], "//")) {
      complaints.push_back(path + " does not begin by saying what it is for");
    }
  }
  return complaints;
}

Complaints CheckBuilt(const Tree& tree) {
  Complaints complaints;
  std::string lists;
  for (const auto& [path, text] : tree) {
    if (EndsWith(path, "CMakeLists.txt")) {
      for (const std::string& line : Lines(text)) {
        lists += line.substr(0, line.find('#')) + "\n";
      }
    }
  }
  for (const auto& [path, text] : tree) {
    if (!EndsWith(path, ".cc")) {
      continue;
    }
    const std::string name = path.substr(path.rfind('/') + 1);
    const std::string stem = name.substr(0, name.size() - 3);
    const std::string fuzz_name = EndsWith(stem, "_fuzz") ? stem.substr(0, stem.size() - 5) : stem;
    const bool fuzz = StartsWith(path, "tests/fuzz/") && lists.find(fuzz_name) != std::string::npos;
    if (lists.find(name) == std::string::npos && !fuzz) {
      complaints.push_back(path + " is in no CMakeLists.txt");
    }
  }
  return complaints;
}

Complaints CheckSchemaComments(const Tree& tree) {
  static const std::regex field(R"(^\s+[A-Za-z_.0-9 ]+ = \d+( \[.*\])?;)");
  Complaints complaints;
  for (const auto& [path, text] : tree) {
    if (!EndsWith(path, ".proto") || !StartsWith(path, "proto/")) {
      continue;
    }
    const std::vector<std::string> lines = Lines(text);
    for (size_t i = 1; i < lines.size(); ++i) {
      const size_t first = lines[i - 1].find_first_not_of(' ');
      const bool commented =
          first != std::string::npos && lines[i - 1].compare(first, 2, "//") == 0;
      if (std::regex_search(lines[i], field) && !commented) {
        complaints.push_back(path + ": no comment above " + lines[i]);
      }
    }
  }
  return complaints;
}

// Every Reason is reached by a test and explained to implementers.
Complaints CheckReasons(const Tree& tree) {
  static const std::regex value(R"(^\s+(REASON_[A-Z_0-9]+) = (\d+);)");
  Complaints complaints;
  std::string tests;
  for (const auto& [path, text] : tree) {
    if (IsTest(path) && !EndsWith(path, "proto/reason_test.cc") &&
        !EndsWith(path, "house_test.cc")) {
      tests += text;
    }
  }
  const auto readme = tree.find("proto/README.md");
  const std::string page = readme == tree.end() ? "" : readme->second;
  const auto schema = tree.find("proto/latchkey/v1/reason.proto");
  if (schema == tree.end()) {
    return {"proto/latchkey/v1/reason.proto is missing"};
  }
  for (const std::string& line : Lines(schema->second)) {
    std::smatch match;
    if (!std::regex_search(line, match, value) || match[2] == "0") {
      continue;
    }
    const std::regex whole(match[1].str() + "\\b");
    if (!std::regex_search(tests, whole)) {
      complaints.push_back(match[1].str() + " is reached by no test");
    }
    std::string word = match[1].str().substr(7);
    std::transform(word.begin(), word.end(), word.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (page.find(word) == std::string::npos && page.find(match[1].str()) == std::string::npos) {
      complaints.push_back(match[1].str() + " is not in proto/README.md");
    }
  }
  return complaints;
}

Complaints CheckLeftovers(const Tree& tree) {
  static const std::regex leftover(std::string("FIX") + R"(ME|TO)" +
                                   R"(DO(?! ?\(?#\d)|^#if 0|doctest::(skip|should_fail|may_fail))");
  Complaints complaints;
  for (const auto& [path, text] : tree) {
    if (!IsCode(path) || path == "tests/house_test.cc") {
      continue;
    }
    for (const std::string& line : Lines(text)) {
      if (std::regex_search(line, leftover)) {
        complaints.push_back(path + ": " + line);
      }
    }
  }
  return complaints;
}

// ARCHITECTURE.md names each folder that has code, and each `path/` or `path/file.ext` it names is
// there.
Complaints CheckMap(const Tree& tree, const std::string& map) {
  Complaints complaints;
  std::set<std::string> folders;
  std::set<std::string> known;
  for (const auto& [path, text] : tree) {
    known.insert(path);
    for (size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      known.insert(path.substr(0, slash + 1));
    }
    if (IsCode(path)) {
      folders.insert(path.substr(0, path.rfind('/') + 1));
    }
  }
  for (const std::string& folder : folders) {
    if (map.find(folder) == std::string::npos) {
      complaints.push_back("ARCHITECTURE.md does not name " + folder);
    }
  }
  static const std::regex named("`((proto|plugins|bridge|storage|tools|tests)/[A-Za-z0-9_/.-]*)`");
  for (std::sregex_iterator it(map.begin(), map.end(), named), end; it != end; ++it) {
    const std::string path = (*it)[1];
    const bool stem = path.rfind('.') == std::string::npos && !EndsWith(path, "/");
    const bool there = known.count(path) > 0 ||
                       (stem && (known.count(path + ".cc") > 0 || known.count(path + ".h") > 0)) ||
                       std::filesystem::exists(std::filesystem::path(LK_SOURCE_DIR) / path);
    if (!there) {
      complaints.push_back("ARCHITECTURE.md names " + path + ", which is not there");
    }
  }
  return complaints;
}

void Expect(const Complaints& complaints) {
  for (const std::string& complaint : complaints) {
    FAIL_CHECK(complaint);
  }
}

const Tree& RealTree() {
  static const Tree tree = ReadTree();
  return tree;
}

}  // namespace

TEST_CASE("house: the tree is read at all") {
  CHECK(RealTree().size() > 50);
  CHECK(RealTree().count("proto/topic.h") == 1);
}

TEST_CASE("house: a file includes only what the matrix allows") {
  CHECK(CheckIncludes({{"plugins/a.cc", "#include \"storage/store.h\"\n"}}).size() == 1);
  CHECK(CheckIncludes({{"bridge/core/a.cc", "#include \"storage/store.h\"\n"}}).size() == 1);
  CHECK(CheckIncludes({{"bridge/http.cc", "#include \"storage/rocksdb_store.h\"\n"}}).size() == 1);
  CHECK(CheckIncludes({{"elsewhere/a.cc", "\n"}}).size() == 1);
  Expect(CheckIncludes(RealTree()));
}

TEST_CASE("house: each library has its doors and no other") {
  CHECK(CheckDoors({{"proto/topic.cc", "#include <openssl/evp.h>\n"}}).size() == 1);
  CHECK(CheckDoors({{"bridge/runner.cc", "#include <mqtt/async_client.h>\n"}}).size() == 1);
  CHECK(CheckDoors({{"proto/topic.cc", "#include <mutex>\n"}}).size() == 1);
  Expect(CheckDoors(RealTree()));
}

TEST_CASE("house: pure files know no clock, file, thread, random number or log, and do not throw") {
  CHECK(CheckPure({{"bridge/core/a.cc", "auto t = Clock::now();\n"}}).size() == 1);
  CHECK(CheckPure({{"tools/car/car.cc", "throw 1;\n"}}).size() == 1);
  CHECK(CheckPure({{"bridge/core/a.cc", "// ::now() is for adapters\n"}}).empty());
  Expect(CheckPure(RealTree()));
}

TEST_CASE("house: files are short and begin by saying what they are for") {
  CHECK(CheckSizes({{"proto/a.cc", "// x\n" + std::string(500, '\n')}}).size() == 1);
  CHECK(CheckSizes({{"proto/a.cc", "#include <x>\n"}}).size() == 1);
  Expect(CheckSizes(RealTree()));
}

TEST_CASE("house: every source file is built") {
  CHECK(CheckBuilt({{"proto/a.cc", "// x\n"}, {"proto/CMakeLists.txt", "# a.cc\n"}}).size() == 1);
  Expect(CheckBuilt(RealTree()));
}

TEST_CASE("house: every field of the schema has a comment") {
  CHECK(CheckSchemaComments({{"proto/a.proto", "message A {\n  uint64 b = 1;\n}\n"}}).size() == 1);
  Expect(CheckSchemaComments(RealTree()));
}

TEST_CASE("house: every reason is reached by a test and explained in proto/README.md") {
  CHECK(CheckReasons({{"proto/latchkey/v1/reason.proto", "  REASON_FULL = 21;\n"}}).size() == 2);
  Expect(CheckReasons(RealTree()));
}

TEST_CASE("house: nothing unfinished or switched off is left lying about") {
  CHECK(CheckLeftovers({{"proto/a.cc", std::string("// TO") + "DO later\n"}}).size() == 1);
  CHECK(CheckLeftovers(
            {{"proto/a_test.cc", std::string("TEST_CASE(\"x\" * doctest::sk") + "ip())\n"}})
            .size() == 1);
  Expect(CheckLeftovers(RealTree()));
}

TEST_CASE("house: ARCHITECTURE.md is a true map") {
  CHECK(CheckMap({{"proto/a.cc", "// x\n"}}, "nothing").size() == 1);
  CHECK(CheckMap({{"proto/a.cc", "// x\n"}}, "proto/ `proto/gone.cc`").size() == 1);
  Expect(CheckMap(RealTree(), RealTree().at("ARCHITECTURE.md")));
}
