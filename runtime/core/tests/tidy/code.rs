//! Rust text as tokens, as far as counting needs it: what is code, and how long a function is.
//!
//! The hard case is text that only looks like code: comments, strings and character literals are
//! blanked before words and braces are counted. A lifetime is no character literal, and a raw
//! string ends only at its own number of hashes. The limit: it knows no syntax, so a brace in the
//! type of a signature (a constant expression) is taken for the body.

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From `fn` to the closing brace; lines that only add an alternative to a pattern are free.
    pub(crate) length: usize,
}

pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].chars().next_back().is_some_and(in_name) {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| in_name(*c)).collect();
        let Some(end) = function_end(&code[at..]).filter(|_| !name.is_empty()) else {
            continue;
        };
        let line = 1 + code[..at].matches('\n').count();
        let counted = |line: &&str| !alternative(line.trim());
        let length = code[at..at + end].lines().filter(counted).count();
        found.push(Function { name, line, length });
    }
    found
}

/// Where the body of the function that starts here ends; `None` without a body.
fn function_end(code: &str) -> Option<usize> {
    let (mut nested, mut braces) = (0_u32, 0_u32);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return (braces == 1).then_some(at + 1),
            '}' => braces -= 1,
            ';' if nested == 0 && braces == 0 => return None,
            _ => {}
        }
    }
    None
}

/// `| Role::Active`: one more name in a pattern.
fn alternative(line: &str) -> bool {
    let pattern = |c: char| in_name(c) || " :,(){}|&.".contains(c);
    line.strip_prefix("| ").is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_uppercase()) && rest.chars().all(pattern)
    })
}

pub(crate) fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text with comments, strings and character literals blanked; every line stays where it is.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        let end = opaque_end(&chars[at..]).map(|length| at + length);
        if let Some(end) = end.map(|end| end.min(chars.len())) {
            let blank = |c: &char| if *c == '\n' { '\n' } else { ' ' };
            code.extend(chars[at..end].iter().map(blank));
            at = end;
        } else {
            code.push(*c);
            at += 1;
        }
    }
    code
}

/// Length of the comment or literal that starts here, if one does.
fn opaque_end(rest: &[char]) -> Option<usize> {
    match rest {
        ['/', '/', ..] => Some(rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(block_comment(rest)),
        ['"', ..] => Some(quoted(rest, '"')),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Some(quoted(rest, '\'')),
        ['r', '"' | '#', ..] => raw_string(rest),
        _ => None,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0_u32);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while let Some(c) = rest.get(at) {
        match *c {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = ['"'].into_iter().chain(vec!['#'; hashes]).collect();
    let body = &rest[hashes + 2..];
    let end = body.windows(close.len()).position(|some| some == close);
    Some(hashes + 2 + end.map_or(body.len(), |at| at + close.len()))
}
