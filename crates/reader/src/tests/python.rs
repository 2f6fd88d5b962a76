use super::*;
use ResultErrorKind::{Invalid, Truncated};

fn check(table: &[(&str, Result<&str, ResultErrorKind>)]) {
    for (output, expected) in table {
        let outcome = read(output.as_bytes());
        assert_eq!(summary(&outcome), *expected, "{output}");
        if let ResultOutcome::Found(found) = outcome {
            assert_eq!(found.dialect, ResultDialect::PythonLiteral, "{output}");
            serde_json::from_str::<Value>(&found.json.unwrap()).unwrap();
        }
    }
}

#[test]
fn what_print_prints_becomes_json() {
    check(&[
        ("{'a': 1, 'b': None, 'c': {}, 'd': [True, False]}", Ok(r#"{"a":1,"b":null,"c":{},"d":[true,false]}"#)),
        ("noise\n{'a': True}\nnoise", Ok(r#"{"a":true}"#)),
        ("{\"it's\": None, 'say \"x\"': 'a\\'b\"c'}", Ok(r#"{"it's":null,"say \"x\"":"a'b\"c"}"#)),
        ("{'n': nan, 'i': [inf, -inf, -0.0, 1e-07, -3]}", Ok(r#"{"n":null,"i":[null,null,-0.0,1e-07,-3]}"#)),
        (
            "{'a': ('x', {'b': 1}), 's': {1, 2}, 't': (1,), 'e': ()}",
            Ok(r#"{"a":["x",{"b":1}],"s":[1,2],"t":[1],"e":[]}"#),
        ),
        ("{'s': set(), 'f': frozenset({1}), 'g': frozenset()}", Ok(r#"{"s":[],"f":[1],"g":[]}"#)),
        (
            "{\"a\":1}\n{'meta': {},\n 'rows': [],\n 'text': '{\"b\":1}'}\nbye\n",
            Ok(r#"{"meta":{},"rows":[],"text":"{\"b\":1}"}"#),
        ),
        ("{'a': 1", Err(Truncated)),
        ("{'a': 'x", Err(Truncated)),
        ("{'a': '''x\n}", Err(Truncated)),
        ("{'a': OrderedDict([(1,", Err(Truncated)),
    ]);
}

#[test]
fn what_would_be_json_but_for_a_comma_or_a_number_is_a_literal() {
    check(&[
        ("{\"a\":1,}", Ok("{\"a\":1}")),
        ("{\"a\":[1,]}", Ok("{\"a\":[1]}")),
        ("{\"a\":+1, \"b\":1., \"c\":.5, \"d\": \"\t\"}", Ok(r#"{"a":1,"b":1.0,"c":0.5,"d":"\t"}"#)),
        ("{\"a\":01}", Err(Invalid)),
        ("{,}", Err(Invalid)),
        ("{'a':1,,}", Err(Invalid)),
        ("{'a' 1}", Err(Invalid)),
        ("{'a': true}", Err(Invalid)),
        ("{'a': {'b': 1}: 2}", Err(Invalid)),
    ]);
}

#[test]
fn strings_mean_what_python_says() {
    check(&[
        ("{'a': '\\x41\\u00e9\\U0001f600\\101\\N{BULLET}\\q\\\nb'}", Ok("{\"a\":\"A\u{e9}\u{1f600}A\u{2022}\\\\qb\"}")),
        (r"{'a': '\a\b\f\n\r\t\v\0'}", Ok(r#"{"a":"\u0007\b\f\n\r\t\u000b\u0000"}"#)),
        (r"{'a': '\ud83d\ude00'}", Ok(r#"{"a":"\ufffd\ufffd"}"#)),
        (
            "{'a': \"x\" 'y\"' r'\\n', u'b': R\"\\\"\" '''1'2''3\n4''' \"\"\"5\"6\"\"\"}",
            Ok(r#"{"a":"xy\"\\n","b":"\\\"1'2''3\n45\"6"}"#),
        ),
        ("{'a': b'x'}", Err(Invalid)),
        ("{'a': b'x' 'y'}", Err(Invalid)),
        ("{'a': f'x'}", Err(Invalid)),
        (r"{'a': '\N{NO SUCH NAME}'}", Err(Invalid)),
        (r"{'a': '\U00110000'}", Err(Invalid)),
        ("{'a': 'x\n'}", Err(Invalid)),
    ]);
}

#[test]
fn numbers_keep_their_digits() {
    check(&[
        (
            "{'a': 1_000, 'b': 0xff, 'c': 0o17, 'd': 0B1_1, 'e': 00, 'f': 1_0.0_1e1_0}",
            Ok(r#"{"a":1000,"b":255,"c":15,"d":3,"e":0,"f":10.01e10}"#),
        ),
        (
            "{'a': 0xffffffffffffffffffffffff, 'b': -0x10, 'c': 007.5, 'd': -0}",
            Ok(r#"{"a":79228162514264337593543950335,"b":-16,"c":7.5,"d":0}"#),
        ),
        (
            "{'a': 2j, 'b': 1+2j, 'c': (-1.5-2j), 'd': [1 - 2j]}",
            Ok(r#"{"a":"2j","b":"(1+2j)","c":"(-1.5-2j)","d":["(1-2j)"]}"#),
        ),
        ("{'a': 1_}", Err(Invalid)),
        ("{'a': 0x}", Err(Invalid)),
        ("{'a': 012}", Err(Invalid)),
        ("{'a': --1}", Err(Invalid)),
        ("{'a': 1+2}", Err(Invalid)),
        ("{'a': -True}", Err(Invalid)),
    ]);
    let long = "f".repeat(5000);
    assert_eq!(summary(&read(format!("{{'a': 0x{long}}}").as_bytes())), Err(Invalid));
}

#[test]
fn keys_become_their_json_text() {
    check(&[
        (
            "{1: 1, 1.5: 2, True: 3, None: 4, (1, 'x'): 5, (1): 6}",
            Ok(r#"{"1":6,"1.5":2,"true":3,"null":4,"[1,\"x\"]":5}"#),
        ),
        ("{1: 'a', '1': 'b'}", Ok(r#"{"1":"b"}"#)),
        ("{[1]: 2}", Err(Invalid)),
        ("{([1],): 2}", Err(Invalid)),
        ("{'a': (1), 'b': ((('x'))), ('c'): ([1])}", Ok(r#"{"a":1,"b":"x","c":[1]}"#)),
    ]);
    let found = object(read(b"{1: 'a', '1': 'b'}"));
    assert_eq!(found.warnings, ["1 members had the key of an earlier one; the last value of each key was taken"]);
}

#[test]
fn what_has_no_form_in_json_is_not_guessed() {
    check(&[
        ("{'a': {...}}", Err(Invalid)),
        ("{'a': [...]}", Err(Invalid)),
        ("{'a': ...}", Err(Invalid)),
        ("{'a': open('x')}", Err(Invalid)),
        ("{'a': 1, # one\n 'b': 2}", Err(Invalid)),
    ]);
    let bytes = error(read(b"noise {'a': b'x'}"));
    assert_eq!(bytes.position, Some(12));
    assert!(bytes.message.contains("holds bytes"), "{}", bytes.message);
}

#[test]
fn a_few_calls_are_read() {
    check(&[
        ("OrderedDict([('a', 1), ('b', OrderedDict([('c', [2])]))])", Ok(r#"{"a":1,"b":{"c":[2]}}"#)),
        ("x = OrderedDict({'a': 1})", Ok(r#"{"a":1}"#)),
        (
            "{'a': OrderedDict(), 'b': OrderedDict([]), 'c': Counter({'x': 2}), 'd': Counter()}",
            Ok(r#"{"a":{},"b":{},"c":{"x":2},"d":{}}"#),
        ),
        ("defaultdict(<class 'int'>, {'a': 1})", Ok(r#"{"a":1}"#)),
        (
            "{'a': defaultdict(<function <lambda> at 0x7f>, {1: []}), 'b': defaultdict(None, {})}",
            Ok(r#"{"a":{"1":[]},"b":{}}"#),
        ),
        ("{'a': deque([1, 2], maxlen=3), 'b': deque([])}", Ok(r#"{"a":[1,2],"b":[]}"#)),
        ("{'a': Decimal('1.50'), 'b': Decimal('-1E+3'), 'c': Decimal('NaN')}", Ok(r#"{"a":1.50,"b":-1E+3,"c":null}"#)),
        ("{'a': UUID('12'), 'b': PosixPath('/x')}", Ok(r#"{"a":"12","b":"/x"}"#)),
        (
            "{'a': np.float64(1.5), 'b': np.int64(-3), 'c': np.str_('x'), 'd': np.True_, 'e': np.float64(nan)}",
            Ok(r#"{"a":1.5,"b":-3,"c":"x","d":true,"e":null}"#),
        ),
        ("{'a': datetime.date(2026, 11, 21), 'b': datetime.time(8, 5)}", Ok(r#"{"a":"2026-11-21","b":"08:05:00"}"#)),
        (
            "{'a': datetime.datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=datetime.timezone.utc)}",
            Ok(r#"{"a":"2026-01-02T03:04:05.000060+00:00"}"#),
        ),
        (
            "{'a': datetime.datetime(2026, 1, 2, 3, 4, fold=1, \
             tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=68400)))}",
            Ok(r#"{"a":"2026-01-02T03:04:00-05:00"}"#),
        ),
        (
            "{'a': datetime.timedelta(days=1, seconds=1, microseconds=500000), 'b': datetime.timedelta(0)}",
            Ok(r#"{"a":86401.5,"b":0}"#),
        ),
        ("{'a': datetime.datetime(2026, 13, 2, 3, 4)}", Err(Invalid)),
        ("{'a': datetime.datetime('2026')}", Err(Invalid)),
        ("{'a': OrderedDict([1, 2])}", Err(Invalid)),
        ("{'a': OrderedDict([(1, 2, 3)])}", Err(Invalid)),
        ("{'a': Decimal('x')}", Err(Invalid)),
        ("{'a': Decimal(x=1)}", Err(Invalid)),
        ("{'a': datetime.datetime(2026, 1, 2, 3, 4, tzinfo=zoneinfo.ZoneInfo(key='Europe/Berlin'))}", Err(Invalid)),
    ]);
}

#[test]
fn what_numpy_and_pandas_print_is_read() {
    check(&[
        (
            "{'x': np.longdouble('1.5'), 'y': np.longdouble('nan'), 'z': np.longdouble('-inf'), 'u': np.longdouble('1e+40')}",
            Ok(r#"{"x":1.5,"y":null,"z":null,"u":1e+40}"#),
        ),
        (
            "{'z': (-0-2.5j), 'y': -2.5j, 'x': (-0+1j), 'w': -0}",
            Ok(r#"{"z":"(-0-2.5j)","y":"-2.5j","x":"(-0+1j)","w":0}"#),
        ),
        ("{'z': np.complex128(1+2j)}", Ok(r#"{"z":"(1+2j)"}"#)),
        (
            "{'a': Timestamp('2026-01-01 00:00:00'), 'b': Timestamp('2026-01-01 01:00:00+0100', tz='Europe/Paris')}",
            Ok(r#"{"a":"2026-01-01T00:00:00","b":"2026-01-01T01:00:00+01:00"}"#),
        ),
        ("{'a': NaT, 'b': <NA>, 'c': [<NA>, 1]}", Ok(r#"{"a":null,"b":null,"c":[null,1]}"#)),
        ("{'a': Timedelta('1 days 02:00:00'), 'b': Timedelta('-1 days +23:59:59.5')}", Ok(r#"{"a":93600,"b":-0.5}"#)),
        ("{'q': array([1.2, 2.]), 'r': array([[1, 2],\n       [3, 4]])}", Ok(r#"{"q":[1.2,2.0],"r":[[1,2],[3,4]]}"#)),
        (
            "{'a': array([], dtype=float64), 'b': array(['x'], dtype='<U1'), 'c': array(5), 'd': array(True)}",
            Ok(r#"{"a":[],"b":["x"],"c":5,"d":true}"#),
        ),
        ("{'a': array([], shape=(0, 3), dtype=int32), 'b': array([None], dtype=object)}", Ok(r#"{"a":[],"b":[null]}"#)),
        ("{'a': array('x', dtype='<U1'), 'b': array([nan, 1.])}", Ok(r#"{"a":"x","b":[null,1.0]}"#)),
        ("{'a': array('i', [1, 2]), 'b': array('d'), 'c': array('u', 'xy')}", Ok(r#"{"a":[1,2],"b":[],"c":"xy"}"#)),
        ("{'a': np.datetime64('2026-01-02'), 'b': np.datetime64('NaT')}", Ok(r#"{"a":"2026-01-02","b":null}"#)),
        ("{'a': np.timedelta64(90,'m'), 'b': np.timedelta64('NaT','ns')}", Ok(r#"{"a":5400,"b":null}"#)),
        (
            "{'a': datetime.datetime(2026, 9, 9, 8, 0, tzinfo=<UTC>), 'b': datetime.datetime(2026, 9, 9, 8, 0, \
             tzinfo=zoneinfo.ZoneInfo(key='UTC')), 'c': datetime.time(8, 0, tzinfo=tzutc())}",
            Ok(r#"{"a":"2026-09-09T08:00:00+00:00","b":"2026-09-09T08:00:00+00:00","c":"08:00:00+00:00"}"#),
        ),
        ("{'a': zoneinfo.ZoneInfo(key='Etc/UTC'), 'b': <UTC>}", Ok(r#"{"a":"UTC","b":"UTC"}"#)),
        ("{'a': array([1, ..., 3])}", Err(Invalid)),
        ("{'a': array([1], dtype=x)}", Err(Invalid)),
        ("{'a': float32}", Err(Invalid)),
        ("{'a': array({1})}", Ok(r#"{"a":[1]}"#)),
        ("{'a': array({})}", Err(Invalid)),
        ("{'a': array(1, 2)}", Err(Invalid)),
        ("{array([1]): 2}", Err(Invalid)),
        ("{'a': Timestamp('soon')}", Err(Invalid)),
        ("{'a': Timedelta('soon')}", Err(Invalid)),
        ("{'a': np.timedelta64(1,'M')}", Err(Invalid)),
        ("{'a': np.longdouble('x')}", Err(Invalid)),
        ("{'a': <NAT>}", Err(Invalid)),
        ("{<NA>: 1}", Ok(r#"{"null":1}"#)),
        ("{'a': <NA", Err(Truncated)),
        ("{'a': Timest", Err(Truncated)),
    ]);
    let zone =
        error(read(b"{'a': datetime.datetime(2026, 1, 2, 3, 4, tzinfo=zoneinfo.ZoneInfo(key='Europe/Berlin'))}"));
    assert!(zone.message.contains("a time zone other than UTC"), "{}", zone.message);
}

#[test]
fn escapes_that_no_repr_writes_are_warned_of() {
    for (output, odd) in [
        (r#"{"path": "C:\\abc\\new", "n": 2}"#, false),
        (r#"{"path": "C:\\abc\\new", "n": None}"#, false),
        (r#"{"path": "C:\abc\new", "n": 2}"#, true),
        (r"{'path': 'C:\bin'}", true),
        (r"{'path': '\d+'}", true),
        (r"{'path': '\101'}", true),
        (r"{'path': '\x41'}", true),
        (r"{'path': '\N{BULLET}'}", true),
        ("{'path': 'a\\\nb'}", true),
        (r"{'path': r'\d'}", false),
        (r#"{'path': '\x00\x1b\xa0\n\r\t\\\'\"\u2028\U0010ffff'}"#, false),
    ] {
        let warnings = object(read(output.as_bytes())).warnings;
        assert_eq!(warnings.iter().any(|warning| warning.contains("a backslash may have been meant")), odd, "{output}");
    }
    let json = ReaderRule { dialects: Dialects::Json, ..rule() };
    let error = error(read_with(json, br#"{"path": "C:\abc"}"#, b""));
    assert!(error.message.contains(r"an escape that is known, found `\abc"), "{}", error.message);
}

#[test]
fn a_dialect_can_be_asked_for() {
    for (dialects, output, expected) in [
        (Dialects::Json, "{'a':1}\n{\"b\":1}\n{\"c\":1,}", Ok("{\"b\":1}")),
        (Dialects::Json, "({\"a\":1}, 1)", Ok("{\"a\":1}")),
        (Dialects::Json, "{'a':1}", Err(Invalid)),
        (Dialects::Python, "{'a':1}\n{\"b\":true}", Ok("{\"a\":1}")),
        (Dialects::Python, "{\"a\":1}", Ok("{\"a\":1}")),
        (Dialects::Python, "{\"a\":null}", Err(Invalid)),
    ] {
        let rule = ReaderRule { dialects, ..rule() };
        assert_eq!(summary(&read_with(rule, output.as_bytes(), b"")), expected, "{output}");
    }
}
