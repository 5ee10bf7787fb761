//! Who lives in the zoo.
use super::{
    End::{self, Killed, With, WithOrLost},
    Prints::{self, Again, Anything, Bytes, Itself, Numbers, Text},
};

/// A hostile script, and what has to come of it.
#[derive(Clone, Copy, Debug)]
pub struct Animal {
    /// The name of its file, without `.sh`.
    pub name: &'static str,
    /// The script, whose first comment says what is hostile about it.
    pub script: &'static str,
    pub(super) end: End,
    pub(super) prints: Prints,
}

impl Animal {
    /// What it prints if it is not ended before.
    pub(super) fn printed(&self) -> Vec<u8> {
        match self.prints {
            Again(text) => text.to_vec(),
            Anything | Numbers(_) => Vec::new(),
            Bytes(bytes) => bytes(),
            Itself => self.script.into(),
            Text(text) => text.into(),
        }
    }
}

macro_rules! animals {
    ($($name:literal: $end:expr, $prints:expr;)*) => {
        &[$(Animal {
            name: $name,
            script: include_str!(concat!("scripts/", $name, ".sh")),
            end: $end,
            prints: $prints,
        }),*]
    };
}

/// All of them.
pub const ANIMALS: &[Animal] = animals! {
    "answers_in_our_name": With(9), Text(FORGED);
    "asks_for_input": With(4), Text("nobody answers\n0\n");
    "blocks_on_a_pipe": Killed, Text("");
    "carries_much": Killed, Text("9\n");
    "changes_its_name": Killed, Text("kworker/0:0\n");
    "cleans_its_environment": Killed, Text("");
    "closes_all_descriptors": Killed, Text("");
    "closes_its_output": Killed, Text("the last words\n");
    "copies_itself": Killed, Text("");
    "dumps_core": With(139), Text("");
    "ends_by_a_late_signal": With(163), Text("");
    "ends_by_abrt": With(134), Text("");
    "ends_by_alrm": With(142), Text("");
    "ends_by_hup": With(129), Text("");
    "ends_by_kill": With(137), Text("");
    "ends_by_pipe": With(141), Text("");
    "ends_by_term": With(143), Text("");
    "ends_by_usr1": With(138), Text("");
    "ends_with_255": With(255), Text("over\n");
    "fills_its_folder": With(3), Text("3000\n");
    "forbids_its_folders": With(6), Text("closed\n");
    "forgets_its_children": With(7), Text("off\n");
    "forks_a_tree": Killed, Text("");
    "forks_and_flees": Killed, Text("");
    "forks_twice": Killed, Text("");
    "has_an_error": With(2), Anything;
    "has_no_interpreter": With(127), Anything;
    "ignores_term": Killed, Text("");
    "is_a_daemon": With(0), Text("started\n");
    "is_another_program": With(0), Itself;
    "keeps_the_output_open": With(0), Text("done\n");
    "kills_its_group": With(137), Text("before\n");
    "kills_its_parent": WithOrLost(8), Text("before\n");
    "loses_its_folder": Killed, Text("");
    "never_ends": Killed, Text("");
    "opens_many_files": With(5), Text("231\n");
    "prints_a_gibibyte": With(0), Numbers(120_000_000);
    "prints_a_long_line": With(0), Bytes(long_line);
    "prints_binary": With(0), Bytes(binary);
    "prints_by_number": With(0), Text("one\ntwo\nthree\nfour\n");
    "prints_carriage_returns": With(0), Text("one\r\ntwo\r\n10%\r20%\r100%\r\n\r");
    "prints_colours": With(0), Text("\u{1b}[31mred\u{1b}[0m \u{1b}[2J\u{1b}]0;title\u{7} \u{1b}[6n\u{1b}P1;2|x\u{1b}\\\n");
    "prints_no_newline": With(0), Text("one\ntwo");
    "prints_nothing": With(1), Text("");
    "prints_nul": With(0), Text("a\0b\0\0\n\0");
    "prints_on_both": With(0), Bytes(both);
    "prints_slowly": With(0), Text("1234567890");
    "prints_what_is_no_text": With(0), Bytes(no_text);
    "prints_without_end": Killed, Again(b"y\n");
    "removes_itself": Killed, Text("gone\n");
    "starts_many": Killed, Text("");
    "stops_its_children": Killed, Text("");
    "stops_itself": Killed, Text("");
    "takes_away_its_limits": With(153), Text("small\n");
    "traps_everything": Killed, Again(b"Terminated\n");
    "waits_for_a_lock": Killed, Text("");
};

/// What forges the lines by which the host's side reports.
const FORGED: &str = "deploy:exit token=00000000000000000000000000000000 generation=1 outcome=succeeded step=0 name=install code=0 reason=- log_length=0 duration_ms=1
deploy:died reason=rebooted step=0 name=install
deploy:never_started
";

fn binary() -> Vec<u8> {
    (0..=255_u8).flat_map(|it| [it, 255 - it]).collect()
}

fn both() -> Vec<u8> {
    (0..200).flat_map(|it| format!("out {it}\nerr {it}\n").into_bytes()).collect()
}

fn long_line() -> Vec<u8> {
    let mut line = vec![b'x'; 4 << 20];
    line.push(b'\n');
    line
}

fn no_text() -> Vec<u8> {
    b"caf\xc3\xa9 \xff\xfe \xed\xa0\x80\n".to_vec()
}
