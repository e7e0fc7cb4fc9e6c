use std::net::IpAddr;

/// Whether a `Host` header may be answered: a web page can make a browser ask us under its own name (DNS rebinding), but not under
/// a loopback name or a bare address. `bound`: where we listen, and `called` what that was called by whoever set it up.
pub fn is_ours(host: &str, bound: IpAddr, called: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name),
    };
    match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address.to_canonical() == bound.to_canonical() || bound.is_unspecified(),
        Err(_) => ["localhost", called].iter().any(|ours| !name.is_empty() && name.eq_ignore_ascii_case(ours)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_and_the_bound_address_are_answered_and_other_names_are_not() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        for host in ["localhost", "LOCALHOST:9091", "127.0.0.1:9091", "127.0.0.1", "[::1]:9091", "[::1]"] {
            assert!(is_ours(host, loopback, ""), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:9091", "localhost.evil.example", "10.0.0.7:9091", "127.0.0.1.evil.example", "[", ":80"]
        {
            assert!(!is_ours(host, loopback, ""), "{host}");
        }
        assert!(is_ours("10.0.0.7:9091", [10, 0, 0, 7].into(), "") && is_ours("10.0.0.7:9091", [0, 0, 0, 0].into(), ""));
        assert!(!is_ours("evil.example", [0, 0, 0, 0].into(), ""));
        assert!(
            is_ours("box.example:9091", [10, 0, 0, 7].into(), "Box.example")
                && !is_ours("evil.example", [10, 0, 0, 7].into(), "box.example")
        );
        assert!(is_ours("10.0.0.7", std::net::Ipv6Addr::UNSPECIFIED.into(), "::"));
    }
}
