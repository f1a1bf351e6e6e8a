// A scanner for the few statements a dump is made of.
#include "tools/import/sql_dump.h"

#include <algorithm>
#include <utility>

namespace latchkey::legacy {

namespace {

enum class Charset : uint8_t { kUtf8, kLatin1, kOther };

// What MySQL calls latin1 is Windows-1252; its 27 letters between 0x80 and 0x9F are left as
// replacement characters.
std::string FromLatin1(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x80) {
      out += c;
    } else if (byte < 0xA0) {
      out += "\xEF\xBF\xBD";
    } else {
      out += static_cast<char>(0xC0U | (byte >> 6U));
      out += static_cast<char>(0x80U | (byte & 0x3FU));
    }
  }
  return out;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

bool IsWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '$' || c == '+' || c == '-';
}

struct Token {
  enum class Kind : uint8_t { kEnd, kWord, kName, kText, kMark, kBroken };
  Kind kind = Kind::kEnd;
  std::string text;
};

class Scanner {
 public:
  explicit Scanner(std::string_view dump) : dump_(dump) {}

  size_t at() const { return at_; }

  bool AtEnd() const { return at_ >= dump_.size(); }

  Token Next() {
    SkipSpace();
    if (AtEnd()) {
      return {};
    }
    const char c = dump_[at_];
    if (c == '\'' || c == '"') {
      return Quoted(c);
    }
    if (c == '`') {
      return Name();
    }
    if (!IsWord(c)) {
      ++at_;
      return {Token::Kind::kMark, std::string(1, c)};
    }
    const size_t begin = at_;
    while (!AtEnd() && IsWord(dump_[at_])) {
      ++at_;
    }
    std::string word(dump_.substr(begin, at_ - begin));
    if (word.front() == '_') {
      SkipSpace();
    }
    const bool quoted = !AtEnd() && dump_[at_] == '\'';
    if (quoted && word.front() == '_') {
      return Quoted('\'');  // _binary '...', _latin1 '...': the bytes as they stand
    }
    if (quoted && (word == "x" || word == "X")) {
      const Token hex = Quoted('\'');
      return FromHex(hex.text);
    }
    if (word.size() > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X')) {
      return FromHex(std::string_view(word).substr(2));
    }
    return {Token::Kind::kWord, std::move(word)};
  }

  // After the ';' that ends the statement.
  void SkipStatement() {
    for (;;) {
      const Token token = Next();
      if (token.kind == Token::Kind::kEnd ||
          (token.kind == Token::Kind::kMark && token.text == ";")) {
        return;
      }
    }
  }

 private:
  // Spaces and comments; what stands in /*!40101 ... */ is a statement and stays.
  void SkipSpace() {
    while (!AtEnd()) {
      const std::string_view rest = dump_.substr(at_);
      const char c = rest.front();
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++at_;
      } else if (rest.substr(0, 3) == "/*!") {
        at_ += 3;
        while (!AtEnd() && dump_[at_] >= '0' && dump_[at_] <= '9') {
          ++at_;
        }
      } else if (rest.substr(0, 2) == "*/") {
        at_ += 2;
      } else if (rest.substr(0, 2) == "/*") {
        const size_t end = dump_.find("*/", at_ + 2);
        at_ = end == std::string_view::npos ? dump_.size() : end + 2;
      } else if (c == '#' || rest.substr(0, 3) == "-- " || rest.substr(0, 3) == "--\n") {
        at_ = std::min(dump_.find('\n', at_), dump_.size());
      } else {
        return;
      }
    }
  }

  static char Unescaped(char c) {
    switch (c) {
      case '0':
        return '\0';
      case 'b':
        return '\b';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'Z':
        return '\x1a';
      default:
        return c;
    }
  }

  Token Quoted(char quote) {
    Token token{Token::Kind::kText, ""};
    for (++at_; !AtEnd(); ++at_) {
      const char c = dump_[at_];
      const bool more = at_ + 1 < dump_.size();
      if (c == '\\' && more) {
        token.text += Unescaped(dump_[++at_]);
      } else if (c == quote && more && dump_[at_ + 1] == quote) {
        token.text += dump_[++at_];
      } else if (c == quote) {
        ++at_;
        return token.text.size() <= kSqlValueBytesMax ? token : Token{Token::Kind::kBroken, ""};
      } else {
        token.text += c;
      }
    }
    return {Token::Kind::kBroken, ""};
  }

  Token Name() {
    const size_t end = dump_.find('`', at_ + 1);
    if (end == std::string_view::npos) {
      at_ = dump_.size();
      return {Token::Kind::kBroken, ""};
    }
    Token token{Token::Kind::kName, std::string(dump_.substr(at_ + 1, end - at_ - 1))};
    at_ = end + 1;
    return token;
  }

  static Token FromHex(std::string_view hex) {
    Token token{Token::Kind::kText, ""};
    for (size_t i = 0; i + 1 < hex.size(); i += 2) {
      const auto digit = [&](char c) {
        return c >= '0' && c <= '9'                     ? c - '0'
               : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                        : -1;
      };
      const int high = digit(hex[i]);
      const int low = digit(hex[i + 1]);
      if (high < 0 || low < 0) {
        return {Token::Kind::kBroken, ""};
      }
      token.text += static_cast<char>(high * 16 + low);
    }
    return token;
  }

  std::string_view dump_;
  size_t at_ = 0;
};

class Dump {
 public:
  Dump(std::string_view dump, const std::function<void(const SqlRow&)>& row,
       const std::function<void(const SqlFault&)>& fault)
      : scanner_(dump), row_(row), fault_(fault) {}

  void Read() {
    for (;;) {
      const Token token = scanner_.Next();
      if (token.kind == Token::Kind::kEnd) {
        return;
      }
      const std::string word = token.kind == Token::Kind::kWord ? Lower(token.text) : "";
      if (word == "insert" || word == "replace") {
        Insert();
      } else if (word == "create") {
        Create();
      } else if (word == "set") {
        Set();
      } else if (token.kind != Token::Kind::kMark || token.text != ";") {
        scanner_.SkipStatement();
      }
    }
  }

 private:
  static bool Is(const Token& token, std::string_view mark) {
    return token.kind == Token::Kind::kMark && token.text == mark;
  }

  void Fault(std::string why) { fault_({scanner_.at(), std::move(why)}); }

  // SET NAMES utf8mb4; other settings are passed over.
  void Set() {
    Token token = scanner_.Next();
    if (token.kind == Token::Kind::kWord && Lower(token.text) == "names") {
      token = scanner_.Next();
      const std::string name = Lower(token.text);
      charset_ = name.rfind("utf8", 0) == 0 || name == "ascii" ? Charset::kUtf8
                 : name == "latin1"                            ? Charset::kLatin1
                                                               : Charset::kOther;
    }
    if (!Is(token, ";")) {
      scanner_.SkipStatement();
    }
  }

  // CREATE TABLE `t` ( `column` type ..., KEY ... ): names of columns begin an entry of the list.
  void Create() {
    Token token = scanner_.Next();
    if (token.kind != Token::Kind::kWord || Lower(token.text) != "table") {
      scanner_.SkipStatement();
      return;
    }
    std::string table;
    while (token.kind != Token::Kind::kEnd && !Is(token, "(") && !Is(token, ";")) {
      table = token.kind == Token::Kind::kName || table.empty() ? token.text : table;
      token = scanner_.Next();
    }
    std::vector<std::string>& columns = columns_[table];
    columns.clear();
    int depth = Is(token, "(") ? 1 : 0;
    bool begins = true;
    while (depth > 0) {
      token = scanner_.Next();
      if (token.kind == Token::Kind::kEnd) {
        return;
      }
      if (begins && token.kind == Token::Kind::kName && columns.size() < kSqlColumnsMax) {
        columns.push_back(token.text);
      }
      begins = depth == 1 && Is(token, ",");
      depth += Is(token, "(") ? 1 : Is(token, ")") ? -1 : 0;
    }
    scanner_.SkipStatement();
  }

  // INSERT INTO `t` [(`a`,`b`)] VALUES (1,'x'),(...);
  void Insert() {
    Token token = scanner_.Next();
    std::string table;
    std::vector<std::string> columns;
    while (!(token.kind == Token::Kind::kWord && Lower(token.text) == "values")) {
      if (token.kind == Token::Kind::kEnd || Is(token, ";")) {
        return;
      }
      const bool is_name = token.kind == Token::Kind::kName ||
                           (token.kind == Token::Kind::kWord && Lower(token.text) != "into" &&
                            Lower(token.text) != "ignore");
      if (is_name && table.empty()) {
        table = token.text;
      } else if (is_name && columns.size() < kSqlColumnsMax) {
        columns.push_back(token.text);
      }
      token = scanner_.Next();
    }
    if (columns.empty()) {
      columns = columns_[table];
    }
    do {
      if (!Row(table, columns)) {
        Fault("an INSERT into " + table + " cannot be read from here to its end");
        scanner_.SkipStatement();
        return;
      }
      token = scanner_.Next();
    } while (Is(token, ","));
    if (token.kind == Token::Kind::kEnd) {
      Fault("the dump ends within an INSERT into " + table);
    } else if (!Is(token, ";")) {
      Fault("an INSERT into " + table + " cannot be read from here to its end");
      scanner_.SkipStatement();
    }
  }

  // False: it cannot be read.
  bool Row(const std::string& table, const std::vector<std::string>& columns) {
    if (!Is(scanner_.Next(), "(")) {
      return false;
    }
    std::vector<std::optional<std::string>> values;
    for (;;) {
      const Token token = scanner_.Next();
      if (token.kind == Token::Kind::kText) {
        values.emplace_back(charset_ == Charset::kLatin1 ? FromLatin1(token.text) : token.text);
      } else if (token.kind == Token::Kind::kWord) {
        values.push_back(Lower(token.text) == "null" ? std::nullopt : std::optional(token.text));
      } else {
        return false;
      }
      const Token after = scanner_.Next();
      if (Is(after, ")")) {
        break;
      }
      if (!Is(after, ",") || values.size() == kSqlColumnsMax) {
        return false;
      }
    }
    SqlRow row{table, ++numbers_[table], {}};
    if (columns.size() != values.size()) {
      Fault("row " + std::to_string(row.number) + " of " + table + " has " +
            std::to_string(values.size()) + " values for " + std::to_string(columns.size()) +
            " known columns");
      return true;
    }
    for (size_t i = 0; i < values.size(); ++i) {
      row.values[columns[i]] = std::move(values[i]);
    }
    row_(row);
    return true;
  }

  Scanner scanner_;
  const std::function<void(const SqlRow&)>& row_;
  const std::function<void(const SqlFault&)>& fault_;
  Charset charset_ = Charset::kUtf8;
  std::map<std::string, std::vector<std::string>> columns_;  // by table
  std::map<std::string, size_t> numbers_;                    // rows so far
};

}  // namespace

void ReadSqlDump(std::string_view dump, const std::function<void(const SqlRow&)>& row,
                 const std::function<void(const SqlFault&)>& fault) {
  Dump(dump, row, fault).Read();
}

}  // namespace latchkey::legacy
