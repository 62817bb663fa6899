//! What people read, in Korean where their locale says so: errors, reports and the quick start. Programs read English: JSON,
//! CSV, streams and logs are the same everywhere.
//!
//! One static list, whose keys are the English texts: what it does not hold is English, and nothing is ever missing. A
//! test loops over it, over all subcommands, reports and exit codes.

use std::sync::OnceLock;

use clap::Command;

/// A language.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Language {
    /// What the program is written in.
    #[default]
    English,
    /// Where the locale is `ko`.
    Korean,
}

/// The language of this process: a locale is one for all of it, as the environment is.
static LANGUAGE: OnceLock<Language> = OnceLock::new();

/// Sets the language by the locale, once.
pub(super) fn choose(locale: Option<&str>) {
    let _ = LANGUAGE.set(of_locale(locale.unwrap_or_default()));
}

/// Other encodings than UTF-8 would show it in pieces.
fn of_locale(locale: &str) -> Language {
    let (name, encoding) = locale.split_once('.').unwrap_or((locale, "UTF-8"));
    let is_utf8 = matches!(encoding.to_ascii_lowercase().replace('-', "").split('@').next(), Some("utf8"));
    let is_korean = name == "ko" || name.starts_with("ko_") || name.starts_with("ko@");
    if is_korean && is_utf8 { Language::Korean } else { Language::English }
}

/// Is it Korean?
pub(super) fn is_korean() -> bool {
    LANGUAGE.get() == Some(&Language::Korean)
}

/// A text in the language of this process.
pub(super) fn say(english: &str) -> &str {
    if is_korean() { korean(english).unwrap_or(english) } else { english }
}

/// The same with what stands in its `{places}`.
pub(super) fn fill(english: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .fold(say(english).to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn korean(english: &str) -> Option<&'static str> {
    TEXTS.iter().find(|(text, _)| *text == english).map(|(_, korean)| *korean)
}

/// The command line in the language of this process: what subcommands are for, headings, examples' remarks.
pub(super) fn localized(mut command: Command) -> Command {
    if !is_korean() {
        return command;
    }
    command.build();
    translated(command)
}

const TEMPLATE: &str = "{about-with-newline}\n사용법: {usage}\n\n{all-args}{after-help}";

fn translated(mut command: Command) -> Command {
    if let Some(about) = command.get_about().map(ToString::to_string) {
        command = command.about(say(&about).to_owned()).long_about(None);
    }
    if let Some(examples) = command.get_after_help().map(ToString::to_string) {
        command = command.after_help(lines(&examples));
    }
    if let Some(examples) = command.get_after_long_help().map(ToString::to_string) {
        command = command.after_long_help(lines(&examples));
    }
    command
        .help_template(TEMPLATE)
        .subcommand_help_heading(say("Commands"))
        .mut_args(|arg| {
            let heading = say(if arg.is_positional() { "Arguments" } else { "Options" });
            let help = arg.get_help().map(|help| say(&help.to_string()).to_owned());
            let long = arg.get_long_help().map(|help| say(&help.to_string()).to_owned());
            let arg = arg.help_heading(heading);
            match (help, long) {
                (Some(help), Some(long)) => arg.help(help).long_help(long),
                (Some(help), None) => arg.help(help),
                _ => arg,
            }
        })
        .mut_subcommands(translated)
}

/// Headings whole, of other lines what stands behind two blanks: the remarks of examples, the meaning of exit codes.
fn lines(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once("  ").filter(|(before, _)| !before.trim().is_empty()) {
        Some((before, remark)) => format!("{before}  {}", say(remark)),
        None => say(line).to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What is wrong with a command line that does not parse, in a few words; clap itself says more, in English.
pub(super) fn misunderstood(kind: clap::error::ErrorKind) -> &'static str {
    use clap::error::ErrorKind::{
        ArgumentConflict, InvalidSubcommand, InvalidValue, MissingRequiredArgument, MissingSubcommand,
        UnknownArgument, ValueValidation,
    };
    match kind {
        InvalidSubcommand | MissingSubcommand => "there is no such subcommand",
        UnknownArgument => "there is no such option",
        InvalidValue | ValueValidation => "a value cannot be used",
        MissingRequiredArgument => "something is missing",
        ArgumentConflict => "two options exclude each other",
        _ => "the command line is not understood",
    }
}

/// English and Korean.
static TEXTS: &[(&str, &str)] = &[
    // ---- errors ----
    ("kdata: error: {what}", "kdata: 오류: {what}"),
    ("kdata: warning: {what}", "kdata: 경고: {what}"),
    ("  help: {help}", "  도움말: {help}"),
    ("  exit code {code}: {meaning}", "  종료 코드 {code}: {meaning}"),
    ("  next: {steps}", "  지금 할 일: {steps}"),
    ("done, or the market was closed", "정상 종료, 또는 휴장일"),
    ("internal error, or the disk or the database failed", "내부 오류, 또는 디스크나 데이터베이스 장애"),
    ("usage or configuration", "사용법 또는 설정 오류"),
    ("a data gate failed: the data look wrong, or are stale", "데이터 검사 불통과: 데이터가 이상하거나 오래됨"),
    ("source down, or retries spent: try later", "소스 장애 또는 재시도 소진: 나중에 다시"),
    (
        "refused to protect data (broken stream, not validated, newer schema, simulated data into a live database)",
        "데이터 보호를 위해 거부 (깨진 스트림, 검증 안 됨, 더 새로운 스키마, 실데이터 DB에 모의 데이터)",
    ),
    ("credentials refused, or blocked", "인증 거부 또는 차단"),
    ("partial: the source could not give some codes", "일부만 수집: 소스가 일부 종목을 주지 못함"),
    ("another run holds the lock", "다른 실행이 잠금을 쥐고 있음"),
    ("not published yet", "아직 공표되지 않음"),
    ("interrupted (SIGINT)", "중단됨 (SIGINT)"),
    ("terminated (SIGTERM)", "종료 요청됨 (SIGTERM)"),
    ("read the message; nothing was half done", "메시지를 읽으십시오. 반쯤 처리된 것은 없습니다"),
    ("correct the command or the setting", "명령이나 설정을 고치십시오"),
    (
        "`kdata runs`, `kdata rejects`, `kdata explain RULE`; then `kdata promote --batch N --force`, or `kdata rollback N`",
        "`kdata runs`, `kdata rejects`, `kdata explain RULE`로 확인한 뒤 `kdata promote --batch N --force` 또는 `kdata rollback N`",
    ),
    ("run the same again later", "나중에 같은 명령을 다시 실행하십시오"),
    ("run the whole pipe again", "파이프 전체를 다시 실행하십시오"),
    ("check them", "키와 계정을 확인하십시오"),
    (
        "the stream is good and marks them `#missing`; promote takes it when they are few (`--max-missing`, 1 % unless said)",
        "스트림은 정상이며 빠진 것은 `#missing`으로 표시됩니다. 적으면 promote가 받아들입니다 (`--max-missing`, 기본 1 %)",
    ),
    ("wait for it", "그 실행이 끝나기를 기다리십시오"),
    ("run again later", "나중에 다시 실행하십시오"),
    ("run again", "다시 실행하십시오"),
    ("there is no such subcommand", "그런 하위 명령은 없습니다"),
    ("there is no such option", "그런 옵션은 없습니다"),
    ("a value cannot be used", "쓸 수 없는 값입니다"),
    ("something is missing", "필요한 것이 빠졌습니다"),
    ("two options exclude each other", "함께 쓸 수 없는 옵션입니다"),
    ("the command line is not understood", "명령을 이해하지 못했습니다"),
    // ---- the command line ----
    ("Commands", "명령"),
    ("Arguments", "인자"),
    ("Options", "옵션"),
    ("Examples:", "예:"),
    ("Exit codes:", "종료 코드:"),
    ("Print help", "도움말 출력"),
    ("Print help (see a summary with '-h')", "도움말 출력 ('-h'는 요약)"),
    ("Print help (see more with '--help')", "도움말 출력 ('--help'는 자세히)"),
    ("Print version", "버전 출력"),
    ("Print this message or the help of the given subcommand(s)", "이 도움말, 또는 하위 명령의 도움말 출력"),
    ("Say nothing on success", "성공하면 아무것도 출력하지 않음"),
    ("How remarks, logs and errors are written on stderr", "stderr에 쓰는 알림, 로그, 오류의 형식"),
    (
        "Korean stock market data, checked against the market's own rules, in one PostgreSQL database",
        "한국 주식시장 데이터를 시장 규칙으로 검증하여 하나의 PostgreSQL 데이터베이스에",
    ),
    ("Korean stock market data in one PostgreSQL database", "한국 주식시장 데이터를 하나의 PostgreSQL 데이터베이스에"),
    ("Ask a source for a dataset; writes a stream to stdout", "소스에서 데이터셋을 가져와 stdout에 스트림으로 쓴다"),
    (
        "Judge a stream by its dataset's rules; reads stdin, writes stdout",
        "스트림을 데이터셋의 규칙으로 검증한다 (stdin → stdout)",
    ),
    (
        "Load a validated stream into staging; prints the batch's number",
        "검증된 스트림을 staging에 적재하고 배치 번호를 출력한다",
    ),
    ("Bring staged batches into production, atomically", "staging의 배치를 원자적으로 운영 데이터에 반영한다"),
    (
        "Bring in history, window by window; skips what is promoted final, and goes on where it stopped",
        "과거 데이터를 구간별로 수집한다. 확정된 구간은 건너뛰고, 멈춘 곳에서 이어간다",
    ),
    (
        "Extract, validate, load and promote in one process",
        "수집, 검증, 적재, 반영을 한 프로세스에서 실행한다",
    ),
    (
        "Undo a batch: promoted rows get their old values back, a staged one is dropped",
        "배치를 되돌린다. 반영된 행은 이전 값으로, staging의 배치는 삭제",
    ),
    ("Report on what the database holds", "데이터베이스가 가진 것에 대한 보고서"),
    ("What came of a session, what is missing, what looks wrong", "거래일에 무엇이 들어왔고, 빠졌고, 이상한지"),
    (
        "Which sessions of which datasets are here: a year on one screen",
        "어느 데이터셋의 어느 거래일이 있는지 일 년을 한 화면에",
    ),
    (
        "How many sessions each dataset lies behind; exit 3 when one is stale",
        "데이터셋이 몇 거래일 뒤처졌는지. 오래되었으면 종료 코드 3",
    ),
    (
        "Where datasets, or sources, contradict each other: stock, session, both values",
        "데이터셋이나 소스끼리 어긋나는 곳: 종목, 거래일, 양쪽 값",
    ),
    ("How large each table is, and how much of it is compressed", "테이블별 크기와 압축된 비율"),
    ("What ran, how long it took, what failed", "무엇이 실행되었고, 얼마나 걸렸고, 무엇이 실패했는지"),
    ("Rejected rows by rule, and the newest", "규칙별 거부된 행과 최근 행"),
    ("List the recent sessions that are not promoted final", "확정 반영되지 않은 최근 거래일 목록"),
    (
        "List the last runs: what was loaded, promoted, refused, and why",
        "최근 실행 목록: 적재, 반영, 거부된 것과 그 이유",
    ),
    (
        "Rejected rows: list, show, replay by today's rules, discard",
        "거부된 행: 목록, 보기, 현재 규칙으로 재검증, 확인 처리",
    ),
    ("Counts by rule, then the newest; what `kdata rejects` does", "규칙별 개수와 최근 행. `kdata rejects`와 같다"),
    ("One row, column by column, its rule, and where it came from", "한 행을 열별로, 그 규칙과 출처까지"),
    (
        "Judge rows by today's rules; writes those that pass as a stream for load",
        "현재 규칙으로 재검증하여 통과한 행을 load용 스트림으로 쓴다",
    ),
    ("Mark rows as looked at; nothing is deleted", "확인한 것으로 표시한다. 삭제되는 것은 없다"),
    ("Flags, gates and what is missing: list, show, discard", "주의 표시, 검사 불통과, 누락: 목록, 보기, 확인 처리"),
    ("Counts by rule, then the newest; what `kdata flags` does", "규칙별 개수와 최근 것. `kdata flags`와 같다"),
    ("One of them, and its rule", "하나와 그 규칙"),
    ("Mark them as looked at; nothing is deleted", "확인한 것으로 표시한다. 삭제되는 것은 없다"),
    ("Say what a rule means, and why", "규칙의 뜻과 이유를 설명한다"),
    (
        "The trading calendar: show, add a day, import a list, check it against the data",
        "거래일 달력: 보기, 하루 추가, 목록 가져오기, 데이터와 대조",
    ),
    ("Sessions, closed days with reasons, special hours", "거래일, 휴장일과 이유, 특별 거래시간"),
    ("Close a day, or give it hours of its own, in the user's file", "사용자 파일에 휴장일이나 특별 거래시간을 추가한다"),
    ("Lay a file's lines over the calendar: DATE[,OPEN,CLOSE[,REASON]]", "파일의 줄을 달력 위에 덮는다: DATE[,OPEN,CLOSE[,REASON]]"),
    ("Take the last add or import back", "마지막 add 또는 import를 되돌린다"),
    ("Compare with the database, and see how far it reaches", "데이터베이스와 대조하고 어디까지 유효한지 확인한다"),
    (
        "Start, stop, look at, migrate, back up and restore the database",
        "데이터베이스 시작, 정지, 상태, 마이그레이션, 백업, 복원",
    ),
    ("Start the private cluster; creates it the first time", "전용 클러스터를 시작한다. 처음이면 만든다"),
    ("Stop the private cluster", "전용 클러스터를 멈춘다"),
    (
        "Say which database is used, whether it runs, what it holds",
        "어느 데이터베이스를 쓰는지, 실행 중인지, 무엇이 있는지",
    ),
    ("Print the connection string, for psql and for client projects", "psql과 클라이언트 프로젝트용 접속 문자열 출력"),
    ("Make or update the schema; safe to run at any time", "스키마를 만들거나 갱신한다. 언제 실행해도 안전하다"),
    (
        "Compress what is final and settled, and bring bars of 5, 15 and 60 minutes up to date",
        "확정된 것을 압축하고 5분, 15분, 60분 봉을 갱신한다",
    ),
    ("Make a backup, then delete old ones that are not needed any more", "백업을 만들고 필요 없어진 오래된 백업을 지운다"),
    ("Prove a backup: restore it beside, compare every table", "백업 검증: 옆에 복원하여 모든 테이블을 비교한다"),
    ("Restore a backup, proven on the way, into the database", "검증하면서 백업을 데이터베이스에 복원한다"),
    (
        "Check settings, credentials, clock, time zone, database, disk, blocks and calendar; asks no source",
        "설정, 인증, 시계, 시간대, 데이터베이스, 디스크, 차단, 달력을 점검한다. 소스에는 묻지 않는다",
    ),
    (
        "Show a simulated market, from nothing to a report, in a database of its own",
        "모의 시장을 별도 데이터베이스에서 처음부터 보고서까지 보여준다",
    ),
    ("Print a shell's completion script", "셸 자동완성 스크립트 출력"),
    (
        "Print the manual page, or write one page a subcommand into a folder",
        "매뉴얼 페이지를 출력하거나, 하위 명령별로 폴더에 쓴다",
    ),
    // ---- the quick start ----
    ("a simulated market, from nothing to a report", "모의 시장, 처음부터 보고서까지"),
    ("into staging", "staging으로"),
    ("staging into production, atomically", "staging에서 운영으로, 원자적으로"),
    ("what came, what is missing, what looks wrong", "들어온 것, 빠진 것, 이상한 것"),
    ("sessions that cron should still fetch", "cron이 아직 가져와야 할 거래일"),
    ("what a rule means, and why", "규칙의 뜻과 이유"),
    (
        "A simulated market of {count} sessions, {from} to {to}, through the stages:",
        "모의 시장 {count}거래일({from} ~ {to})을 모든 단계에 통과시킵니다:",
    ),
    (
        NEXT_STEPS,
        "\
다음 단계
  psql로 데모 보기               psql \"$(kdata db url --demo --reader)\" -c 'SELECT * FROM session_status'
  다른 거래일 보기               DATABASE_URL=\"$(kdata db url --demo)\" kdata report quality --date -2s
  실제 데이터                    export KDATA_MARCAP=FOLDER   (marcap-YYYY.parquet 또는 marcap-YYYY.csv.gz)
                                 kdata extract stocks --from 2026-01-02 --to 2026-02-20 | kdata validate | kdata load
                                 kdata extract ohlcv  --from 2026-01-02 --to 2026-02-20 | kdata validate | kdata load
                                 kdata promote && kdata report quality --date 2026-02-20
  매일 18:00 KST                 crontab.example",
    ),
    // ---- reports ----
    (" of {day}", " {day}"),
    (" of {from} to {to}", " {from} ~ {to}"),
    ("{title}{days} ({database} database, {storage} storage)", "{title}{days} ({database} 데이터베이스, {storage} 저장)"),
    ("Quality", "품질"),
    ("Coverage", "수집 범위"),
    ("Freshness", "최신성"),
    ("Runs", "실행"),
    ("Rejects", "거부"),
    ("is the session here, whole, final; what was remarked about it", "거래일이 있는지, 온전한지, 확정인지와 지적 사항"),
    ("rows of the last 60 sessions; a gap is a session that is not here", "최근 60거래일의 행 수. 빈칸은 없는 거래일"),
    ("what was remarked, with up to three samples", "지적 사항과 예시 최대 세 건"),
    ("`kdata explain RULE` says what a rule means.", "규칙의 뜻은 `kdata explain RULE`이 설명합니다."),
    ("which sessions are here", "어느 거래일이 있는지"),
    ("how many sessions are in which state", "상태별 거래일 수"),
    ("what to look at, the newest first", "살펴볼 것, 최근 것부터"),
    (
        "`kdata backfill DATASET --from … --to …` brings what is absent; `kdata promote` says why a batch is held.",
        "없는 것은 `kdata backfill DATASET --from … --to …`로 가져오고, 보류 이유는 `kdata promote`가 알려줍니다.",
    ),
    ("on which sessions the names have rows", "종목별로 행이 있는 거래일"),
    ("how many sessions each of them has", "종목별 거래일 수"),
    (
        "the last session here, and how many lie behind it that its source has published",
        "마지막 거래일과, 소스가 이미 공표했으나 아직 없는 거래일 수",
    ),
    (
        "runs that began on these days, by what they did; those that are open run, or were killed",
        "이 기간에 시작한 실행을 명령별로. open은 실행 중이거나 강제 종료된 것",
    ),
    ("why runs failed, the newest first", "실패 이유, 최근 것부터"),
    ("the newest", "최근 것"),
    ("`kdata runs` says why a run failed.", "실패 이유는 `kdata runs`가 알려줍니다."),
    ("rejected rows by rule, and how many of them nobody has looked at", "규칙별 거부된 행과 아직 아무도 보지 않은 수"),
    (
        "`kdata explain RULE` says what a rule means; `kdata rejects show ID` shows a row whole.",
        "규칙의 뜻은 `kdata explain RULE`, 행 전체는 `kdata rejects show ID`.",
    ),
    ("Reconciliation", "대사"),
    ("Reconciliation of a batch", "배치 대사"),
    ("what was compared, and how much of it differs", "비교한 수와 어긋난 수"),
    ("where two sides do not agree", "양쪽이 어긋나는 곳"),
    (
        "One side may be right: `kdata extract … | kdata validate | kdata load`, then `kdata report reconcile --batch N` compares another source.",
        "한쪽은 맞을 수 있습니다. `kdata extract … | kdata validate | kdata load` 다음 `kdata report reconcile --batch N`으로 다른 소스와 비교합니다.",
    ),
    ("the batch, and how many of its rows production holds", "배치와, 그 행 중 운영에 있는 수"),
    ("in which columns they differ", "어긋나는 열"),
    ("row by row", "행별"),
    ("rows that production does not hold", "운영에 없는 행"),
    ("Storage", "저장 공간"),
    ("rows, bytes and parts of each table", "테이블별 행, 크기, 파트"),
    ("all that the database holds", "데이터베이스 전체"),
    ("the parts, the newest first", "파트, 최근 것부터"),
    ("nothing", "없음"),
    ("a cell is a session:", "한 칸은 한 거래일:"),
    ("a cell is a quarter of a month, a digit its absent sessions:", "한 칸은 한 달의 1/4, 숫자는 없는 거래일 수:"),
    ("staged, not promoted", "적재됨, 미반영"),
    ("some names only", "일부 종목만"),
    ("not final yet", "잠정"),
    ("whole and final", "온전하고 확정"),
    ("the list before stands", "이전 목록 유효"),
    ("nothing collected", "미수집"),
    ("check", "검사"),
    ("compared", "비교"),
    ("differing", "불일치"),
    ("about", "내용"),
    ("session", "거래일"),
    ("one", "한쪽"),
    ("other", "다른 쪽"),
    ("difference", "차이"),
    ("item", "항목"),
    ("table", "테이블"),
    ("bytes", "크기"),
    ("row bytes", "행당 크기"),
    ("parts", "파트"),
    ("compressed", "압축"),
    ("compressed percent", "압축 비율"),
    ("schema", "스키마"),
    ("tables", "테이블 수"),
    ("until", "까지"),
    ("column", "열"),
    ("staged", "적재"),
    ("production", "운영"),
    ("production source", "운영 소스"),
    ("dataset", "데이터셋"),
    ("state", "상태"),
    ("source", "소스"),
    ("rows", "행"),
    ("expected", "예상"),
    ("missing", "누락"),
    ("coverage", "수집률"),
    ("rejected", "거부"),
    ("rejects", "거부"),
    ("flagged", "주의"),
    ("noted", "참고"),
    ("fresh", "최신성"),
    ("least", "최소"),
    ("most", "최대"),
    ("trend", "추이"),
    ("severity", "심각도"),
    ("rule", "규칙"),
    ("count", "건수"),
    ("samples", "예시"),
    ("sessions", "거래일"),
    ("from", "부터"),
    ("to", "까지"),
    ("final", "확정"),
    ("provisional", "잠정"),
    ("partial", "일부"),
    ("stands", "유지"),
    ("held", "보류"),
    ("absent", "없음"),
    ("none", "미수집"),
    ("stock", "종목"),
    ("stock code", "종목코드"),
    ("name", "종목명"),
    ("here", "있음"),
    ("not listed", "미상장"),
    ("no session", "미수집 거래일"),
    ("first", "처음"),
    ("last", "마지막"),
    ("last session", "마지막 거래일"),
    ("last final", "마지막 확정"),
    ("behind", "지연"),
    ("final behind", "확정 지연"),
    ("may lag", "허용 지연"),
    ("command", "명령"),
    ("runs", "실행"),
    ("ok", "성공"),
    ("failed", "실패"),
    ("open", "미확인"),
    ("median seconds", "중앙값(초)"),
    ("longest seconds", "최장(초)"),
    ("reason", "이유"),
    ("exit code", "종료 코드"),
    ("last run id", "마지막 실행"),
    ("run", "실행"),
    ("run id", "실행"),
    ("batch", "배치"),
    ("batch id", "배치"),
    ("outcome", "결과"),
    ("started (KST)", "시작 (KST)"),
    ("started at", "시작"),
    ("replayed", "재반영"),
    ("discarded", "확인됨"),
    ("broken when", "위반 조건"),
    ("message", "메시지"),
    ("line", "줄"),
    ("row", "행 내용"),
    // ---- the state of it all ----
    ("Is all well: one screen, one exit code for monitors", "모두 정상인지 한 화면과 종료 코드 하나로 (모니터링용)"),
    ("exit 3 when something wants a look", "살펴볼 것이 있으면 종료 코드 3"),
    ("silent when all is well, else exit 3", "정상이면 조용하고 아니면 종료 코드 3"),
    ("for programs, exit 3 as well", "프로그램용. 종료 코드 3도 같다"),
    ("kdata at {time} KST", "kdata 상태 {time} KST"),
    ("attention", "주의"),
    ("FAILED", "실패"),
    ("database", "데이터베이스"),
    ("freshness", "최신성"),
    ("gaps", "누락"),
    ("failed runs", "실패한 실행"),
    ("backfills", "과거 수집"),
    ("rollups", "분봉 집계"),
    ("backup", "백업"),
    ("calendar", "달력"),
    ("blocked", "차단"),
    ("quota", "일일 한도"),
    ("disk", "디스크"),
    // ---- the crontab ----
    ("Have the lines of the crontab run", "crontab의 줄들이 실행되었는지"),
    ("Which lines of the crontab have not run since they were due", "crontab에서 예정 시각 이후 실행되지 않은 줄"),
    ("exit 3 when a line has not run", "실행되지 않은 줄이 있으면 종료 코드 3"),
    ("silent when all have, else exit 3", "모두 실행되었으면 조용하고 아니면 종료 코드 3"),
    ("another crontab than `crontab -l`", "`crontab -l`이 아닌 다른 crontab"),
    ("{place} at {time} KST", "{place} {time} KST"),
    ("the crontab", "crontab의 줄"),
    ("schedule", "일정"),
    ("due", "예정"),
    ("last run", "마지막 실행"),
    ("by hand", "수동 실행"),
    ("running", "실행 중"),
    ("waits", "첫 실행 대기"),
    ("CUT OFF", "중단됨"),
    ("OVERDUE", "미실행"),
    ("{n} other lines do not run kdata", "kdata를 실행하지 않는 다른 줄 {n}개"),
    // ---- alerts ----
    ("Who is told of failures: try it, list what fails", "실패를 누구에게 알리는지: 시험하고, 실패 중인 것을 나열"),
    ("Send a test message to all that are set up", "설정된 모든 곳에 시험 메시지를 보낸다"),
    ("Commands that fail, and alerts that were not delivered", "실패 중인 명령과 전달되지 않은 알림"),
    ("what fails, and what could not be told", "실패 중인 것과 전달하지 못한 것"),
    ("exit 2: nobody is set up, or it did not arrive", "종료 코드 2: 설정이 없거나 도착하지 않음"),
    ("FAILED: `kdata {job}` on {host}", "실패: {host}의 `kdata {job}`"),
    ("exit code {code}: {meaning}", "종료 코드 {code}: {meaning}"),
    ("all is well again: `kdata {job}` on {host}", "다시 정상: {host}의 `kdata {job}`"),
    ("it failed {n} times since {time}", "{time}부터 {n}번 실패"),
    ("a test of {host}: alerts arrive (시험 알림)", "{host}의 시험 알림: 알림이 도착한다"),
    ("told", "전달됨"),
    ("not told", "전달 안 됨"),
    ("nothing fails, and all was told", "실패 중인 것이 없고 모두 전달되었다"),
    // ---- the calendar ----
    ("Mo Tu We Th Fr Sa Su", "월 화 수 목 금 토 일"),
    (
        "{count} sessions; * other hours, x closed, ? not covered\ncovered: {from} to {to}",
        "거래일 {count}일; * 특별 거래시간, x 휴장, ? 모름\n유효 기간: {from} ~ {to}",
    ),
];

/// What `kdata demo` ends with.
pub(super) const NEXT_STEPS: &str = "\
Next steps
  Look at the demo with psql     psql \"$(kdata db url --demo --reader)\" -c 'SELECT * FROM session_status'
  Ask it for another session     DATABASE_URL=\"$(kdata db url --demo)\" kdata report quality --date -2s
  Real data                      export KDATA_MARCAP=FOLDER   (marcap-YYYY.parquet or marcap-YYYY.csv.gz)
                                 kdata extract stocks --from 2026-01-02 --to 2026-02-20 | kdata validate | kdata load
                                 kdata extract ohlcv  --from 2026-01-02 --to 2026-02-20 | kdata validate | kdata load
                                 kdata promote && kdata report quality --date 2026-02-20
  Every day at 18:00 KST         crontab.example";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::error::{EXIT_CODES, NEXT};
    use crate::stage::report;

    /// What stands in braces.
    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<&str> =
            text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn every_text_has_both_languages_and_the_same_places() {
        for (at, (english, korean)) in TEXTS.iter().enumerate() {
            assert!(!english.is_empty() && !korean.is_empty(), "{english:?}");
            assert_eq!(places(english), places(korean), "{english}");
            let is_korean = korean.chars().any(|c| ('가'..='힣').contains(&c));
            assert!(
                is_korean
                    || !english.chars().any(char::is_alphabetic)
                    || places(english).len() > 1
                    || english.starts_with(" of"),
                "{korean}"
            );
            assert!(TEXTS[..at].iter().all(|(earlier, _)| earlier != english), "{english} twice");
            // What is to be typed is the same.
            let typed = |text: &'static str| text.split('`').skip(1).step_by(2).collect::<Vec<_>>();
            let (mut here, mut there) = (typed(english), typed(korean));
            here.sort_unstable();
            there.sort_unstable();
            assert_eq!(here, there, "{english}");
        }
    }

    #[test]
    fn every_subcommand_report_and_exit_code_is_translated() {
        fn walk(command: &Command, lacking: &mut Vec<String>) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            if korean(&about).is_none() && !command.is_hide_set() {
                lacking.push(about);
            }
            command.get_subcommands().for_each(|inner| walk(inner, lacking));
        }
        let mut lacking = Vec::new();
        walk(&super::super::Cli::command(), &mut lacking);
        for text in EXIT_CODES.iter().chain(NEXT).map(|(_, text)| *text) {
            if korean(text).is_none() {
                lacking.push(text.to_owned());
            }
        }
        for text in report::ALL.iter().flat_map(report::Report::headings) {
            if korean(&text).is_none() {
                lacking.push(text);
            }
        }
        for check in crate::stage::status::CHECKS.iter().filter(|check| korean(check.name).is_none()) {
            lacking.push(check.name.to_owned());
        }
        assert!(lacking.is_empty(), "not in Korean:\n{}", lacking.join("\n"));
    }

    #[test]
    fn the_korean_readme_says_what_errors_say() {
        let readme = include_str!("../../README.ko.md");
        for (code, steps) in NEXT {
            let steps = korean(steps).unwrap();
            assert!(readme.contains(steps), "README.ko.md, code {code}: {steps}");
        }
        let readme = include_str!("../../README.md");
        assert!(NEXT.iter().all(|(_, steps)| readme.contains(steps)));
    }

    #[test]
    fn locales() {
        for (locale, language) in [
            ("ko_KR.UTF-8", Language::Korean),
            ("ko", Language::Korean),
            ("ko_KR.utf8", Language::Korean),
            ("ko_KR.eucKR", Language::English),
            ("kok_IN", Language::English),
            ("en_US.UTF-8", Language::English),
            ("C", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(of_locale(locale), language, "{locale}");
        }
    }
}
