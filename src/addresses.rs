//! Addresses and ranges of them, as they are written.

use std::net::IpAddr;

/// An address, or a range of them in CIDR notation (RFC 4632, RFC 4291): the address, and the bits that stay the same.
pub fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let ip: IpAddr = ip.parse().ok()?;
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok())?;
    (prefix <= bits).then_some((ip, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_range_or_none() {
        for (text, prefix) in [("10.0.0.0/8", 8), ("8.8.8.8", 32), ("::/0", 0), ("2001:db8::1", 128)] {
            assert_eq!(range(text).map(|(_, prefix)| prefix), Some(prefix), "{text}");
        }
        for text in ["0.0.0.0/0/0", "1.2.3.4/33", "1.2.3/8", "::/129", "10.0.0.0/", "VirtualNetwork", ""] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
