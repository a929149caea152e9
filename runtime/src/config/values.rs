//! Single values of the file: lists of texts, addresses with and without a prefix length.

use std::net::IpAddr;

use toml::Spanned;
use toml::de::DeValue;

use super::mistake::Findings;
use super::section::Key;

/// Most values of a list, virtual addresses included; a longer list is refused.
pub(super) const LIST_MAX: usize = 4096;

/// What is wrong with a value, and the cure.
pub(super) type Refusal = (String, String);

/// The same as [`Section::each`], of a value already taken.
pub(super) fn each_of<T>(
    key: Key,
    value: Spanned<DeValue<'_>>,
    findings: &mut Findings,
    make: impl Fn(&str) -> Result<T, Refusal>,
) -> Vec<Spanned<T>> {
    let place = value.span();
    let list = match value.into_inner() {
        DeValue::Array(list) => list.into_iter().collect(),
        one @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_)) => vec![Spanned::new(place.clone(), one)],
    };
    if list.len() > LIST_MAX {
        let message = format!("`{}` has {} values", key.name, list.len());
        findings.wrong(&place, message, format!("at most {LIST_MAX} are allowed"));
        return Vec::new();
    }
    let mut made = Vec::with_capacity(list.len());
    for value in list {
        match value.get_ref().as_str().map(&make) {
            Some(Ok(one)) => made.push(Spanned::new(value.span(), one)),
            Some(Err((message, cure))) => findings.wrong(&value.span(), message, cure),
            None => wrong_type(key, &value, "a text in quotes", findings),
        }
    }
    made
}

/// A program, or an argument of one.
pub(super) fn argument(text: &str) -> Result<String, Refusal> {
    if text.contains('\0') {
        return Err((
            "a byte 0 ends every argument".to_owned(),
            "remove it".to_owned(),
        ));
    }
    Ok(text.to_owned())
}

/// An address without a prefix length.
pub(super) fn plain_address(text: &str) -> Result<IpAddr, Refusal> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let before = text.split_once('/').and_then(|(ip, _)| ip.parse().ok());
    Err(match before {
        Some(IpAddr::V4(ip)) => with_prefix(text, &ip.to_string()),
        Some(IpAddr::V6(ip)) => with_prefix(text, &ip.to_string()),
        None => not_an_address(text, "10.0.1.1"),
    })
}

/// An address with its prefix length.
pub(super) fn address_with_prefix(text: &str) -> Result<(IpAddr, u8), Refusal> {
    let text = text.trim();
    let Some((ip, prefix)) = text.split_once('/') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(_) => (
                format!("`{text}` has no prefix length"),
                format!("add the subnet's, like `{text}/24`"),
            ),
            Err(_) => not_an_address(text, "10.0.1.2/24"),
        });
    };
    let (Ok(ip), Ok(prefix)) = (ip.parse::<IpAddr>(), prefix.parse::<u8>()) else {
        return Err(not_an_address(text, "10.0.1.2/24"));
    };
    let most = if ip.is_ipv4() { 32 } else { 128 };
    if prefix == 0 || prefix > most {
        let message = format!("prefix length {prefix} is out of range");
        return Err((message, format!("it lies between 1 and {most}")));
    }
    Ok((ip, prefix))
}

fn with_prefix(text: &str, plain: &str) -> Refusal {
    (
        format!("`{text}` has a prefix length"),
        format!("write `\"{plain}\"`: the subnet is that of the interface's own address"),
    )
}

fn not_an_address(text: &str, example: &str) -> Refusal {
    (
        format!("`{text}` is not an IP address"),
        format!("write one like `\"{example}\"` or its IPv6 form"),
    )
}

/// A value of another type than is wanted.
pub(super) fn wrong_type(
    key: Key,
    value: &Spanned<DeValue<'_>>,
    want: &str,
    findings: &mut Findings,
) {
    let is = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let message = format!("`{}` is {is}; it must be {want}", key.name);
    findings.wrong(&value.span(), message, key.cure());
}
