//! A reader that reads only when the test lets it.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{AUDIT_ROOM, Kind, Line, Lines, Lost, PATIENCE, PIECE, ROOM};

const LONG: Duration = Duration::from_secs(30);

/// Takes one piece for each turn that the test gives.
struct Reader {
    turns: Receiver<io::Result<()>>,
    read: Arc<Mutex<Vec<u8>>>,
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // without a test there is nothing more to do
        self.turns.recv().unwrap_or(Ok(()))?;
        self.read.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    lines: Arc<Lines>,
    read: Arc<Mutex<Vec<u8>>>,
    turns: Sender<io::Result<()>>,
    reports: Arc<Mutex<Vec<Lost>>>,
}

impl Bench {
    fn new() -> Self {
        let (turns, taken) = channel();
        let (lines, read, reports) = (Arc::<Lines>::default(), Arc::default(), Arc::<Mutex<Vec<Lost>>>::default());
        let reader = Reader { turns: taken, read: Arc::clone(&read) };
        let (queue, said) = (Arc::clone(&lines), Arc::clone(&reports));
        std::thread::spawn(move || {
            let pushed = Arc::clone(&queue);
            queue.run(reader, move |lost| {
                said.lock().unwrap().push(lost);
                pushed.push(Kind::Report, b"report\n");
            });
        });
        Self { lines, read, turns, reports }
    }

    /// From now on everything is read: waits until it is, and answers the text.
    fn read_on(&mut self) -> String {
        self.turns = channel().0;
        self.lines.flush(LONG);
        String::from_utf8(self.read.lock().unwrap().clone()).unwrap()
    }

    fn reports(&self) -> Vec<Lost> {
        self.reports.lock().unwrap().clone()
    }

    fn fill(&self, kind: Kind, until: usize) -> u64 {
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let mut pushed = 0;
        while self.lines.queue().held() + line.len() <= until {
            self.lines.push(kind, &line);
            pushed += 1;
        }
        pushed
    }
}

#[test]
fn lines_arrive_in_order_and_flush_waits_for_them() {
    let mut bench = Bench::new();
    bench.read_on();
    let expected: Vec<String> = (0..10_000).map(|number| format!("{number}\n")).collect();
    for line in &expected {
        bench.lines.push(Kind::Plain, line.as_bytes());
    }
    assert_eq!(bench.read_on(), expected.concat());
    assert!(bench.reports().is_empty());
}

#[test]
fn what_does_not_fit_is_dropped_at_once_and_reported_when_the_reader_is_back() {
    let mut bench = Bench::new();
    bench.fill(Kind::Plain, ROOM);
    for _ in 0..5 {
        bench.lines.push(Kind::Plain, &[b'y'; 1024]);
    }
    bench.lines.push(Kind::Audit, b"audit\n");
    let text = bench.read_on();
    assert!(text.ends_with("audit\nreport\n"), "the audit line has room of its own, the report comes last");
    assert!(!text.contains('y'));
    assert_eq!(bench.reports(), [Lost { plain: 5, audit: 0 }]);
}

#[test]
fn an_audit_line_waits_once_and_is_lost_with_a_report_only_after_that() {
    let mut bench = Bench::new();
    bench.fill(Kind::Audit, AUDIT_ROOM);
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        bench.lines.push(Kind::Audit, &[b'y'; 1024]);
    }
    let waited = began.elapsed();
    assert!((PATIENCE..PATIENCE * 3).contains(&waited), "{waited:?} for twenty lines together");
    bench.read_on();
    assert_eq!(bench.reports(), [Lost { plain: 0, audit: 20 }]);
}

#[test]
fn an_audit_line_that_waits_goes_on_as_soon_as_there_is_room() {
    let mut bench = Bench::new();
    bench.fill(Kind::Audit, AUDIT_ROOM);
    let lines = Arc::clone(&bench.lines);
    let waiting = std::thread::spawn(move || lines.push(Kind::Audit, b"late\n"));
    while bench.lines.queue().waiting == 0 {
        std::thread::yield_now();
    }
    bench.turns.send(Ok(())).unwrap();
    waiting.join().unwrap();
    assert!(bench.read_on().ends_with("late\n"));
    assert!(bench.reports().is_empty());
}

#[test]
fn no_more_is_held_than_there_is_room_for_and_a_stall_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let mut most = 0;
    for _ in 0..3 * AUDIT_ROOM / 1024 {
        bench.lines.push(Kind::Plain, &[b'x'; 1024]);
        most = most.max(bench.lines.queue().held());
    }
    assert!(most <= ROOM, "{most}");
    bench.read_on();
    // the two buffers change places with every batch
    for _ in 0..2 {
        bench.lines.push(Kind::Plain, b"one more\n");
        bench.read_on();
    }
    assert!(bench.lines.queue().bytes.capacity() <= 2 * PIECE);
}

#[test]
fn a_reader_that_is_gone_costs_the_lines_and_nothing_else() {
    let mut bench = Bench::new();
    bench.lines.push(Kind::Plain, b"one\n");
    bench.turns.send(Err(ErrorKind::WouldBlock.into())).unwrap();
    bench.turns.send(Err(ErrorKind::Interrupted.into())).unwrap();
    bench.turns.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
    bench.lines.flush(LONG);
    assert_eq!(bench.lines.queue().lost, Lost { plain: 1, audit: 0 });
    bench.read_on();
    bench.lines.push(Kind::Plain, b"two\n");
    assert_eq!(bench.read_on(), "two\nreport\n");
    assert_eq!(bench.reports(), [Lost { plain: 1, audit: 0 }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_waiting_audit_line_leaves_the_runtime_to_the_others() {
    let bench = Bench::new();
    bench.fill(Kind::Audit, AUDIT_ROOM);
    let lines = Arc::clone(&bench.lines);
    let waiting = tokio::spawn(async move { lines.push(Kind::Audit, &[b'y'; 1024]) });
    while bench.lines.queue().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let other = tokio::spawn(async {});
    tokio::time::timeout(PATIENCE / 2, other).await.expect("the only worker is free for it").unwrap();
    waiting.await.unwrap();
}

#[test]
fn no_line_carries_a_character_that_steers_a_terminal() {
    let mut bench = Bench::new();
    let said = "{\"cause\":\"host \u{9b}31m\u{202e}gpj\u{200b} ü\"}\n";
    for kind in [Kind::Plain, Kind::Audit] {
        Line { lines: &bench.lines, kind }.write_all(said.as_bytes()).unwrap();
    }
    assert_eq!(bench.read_on(), "{\"cause\":\"host \u{fffd}31m\u{fffd}gpj\u{fffd} ü\"}\n".repeat(2));
}
