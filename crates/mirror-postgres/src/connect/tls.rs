//! TLS by OpenSSL, as libpq does it: the same library, the same files, the same verdict on a
//! certificate.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;

use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    Ssl as Session, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslRef, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509Lookup;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509Ref, X509VerifyResult};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::names::Names;
use super::options::{Roots, Ssl, SslMode};

/// Greets the server, whose side of the connection has agreed to TLS, and verifies whom it is.
pub(super) async fn greet(socket: TcpStream, ssl: &Ssl, host: &str) -> Result<SslStream<TcpStream>, String> {
    let context = context(ssl)?;
    let mut session = Session::new(&context).map_err(|e| format!("OpenSSL: {e}"))?;
    if ssl.names_host && host.parse::<IpAddr>().is_err() {
        session.set_hostname(host).map_err(|e| format!("OpenSSL: {e}"))?;
    }
    let mut stream = SslStream::new(session, socket).map_err(|e| format!("OpenSSL: {e}"))?;
    if let Err(e) = Pin::new(&mut stream).connect().await {
        return Err(refusal(stream.ssl(), &e.to_string()));
    }
    if ssl.mode == SslMode::VerifyFull {
        let certificate = stream.ssl().peer_certificate().ok_or("the server has shown no certificate")?;
        let names = names(&certificate);
        if !names.has(host) {
            return Err(format!(
                "the server's certificate is of {} and not of {host}: connect by a name that is in it (verify-ca does not compare names)",
                names.first()
            ));
        }
    }
    Ok(stream)
}

/// Why there is no TLS, in the words of OpenSSL, and which parameter to look at.
fn refusal(session: &SslRef, error: &str) -> String {
    let verdict = session.verify_result();
    if verdict == X509VerifyResult::OK {
        let ours = if error.contains("alert") {
            " (the server refuses us: is a client certificate, sslcert and sslkey, needed?)"
        } else {
            ""
        };
        return format!("TLS: {error}{ours}");
    }
    // By the numbers of openssl/x509_vfy.h.
    let remedy = match verdict.as_raw() {
        9 | 11 => "Compare the clocks of both machines",
        10 => "Renew it on the server; if it is an authority's, in sslrootcert as well",
        3 | 12 => {
            "sslcrl (or ~/.postgresql/root.crl) must have the present list of revoked certificates of each authority"
        }
        23 => "Give the server another certificate",
        26 | 66 | 68 => "Give the server a certificate that is made for servers, with a longer key and a newer digest",
        _ => "sslrootcert must have the certificate of who signed it (or the certificate itself)",
    };
    format!("the server's certificate is refused: {}. {remedy}", verdict.error_string())
}

fn context(ssl: &Ssl) -> Result<SslContext, String> {
    let failed = |what: &str, e: &dyn std::fmt::Display| format!("{what}: {e}");
    let mut builder = SslContext::builder(SslMethod::tls_client()).map_err(|e| failed("OpenSSL", &e))?;
    let least = match ssl.least_version.as_str() {
        "TLSv1" => SslVersion::TLS1,
        "TLSv1.1" => SslVersion::TLS1_1,
        "TLSv1.3" => SslVersion::TLS1_3,
        "TLSv1.2" => SslVersion::TLS1_2,
        _ => return Err("ssl_min_protocol_version must be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3".to_owned()),
    };
    builder.set_min_proto_version(Some(least)).map_err(|e| failed("ssl_min_protocol_version", &e))?;
    builder.set_verify(if ssl.roots == Roots::None { SslVerifyMode::NONE } else { SslVerifyMode::PEER });
    match &ssl.roots {
        Roots::None => {}
        Roots::System => builder.set_default_verify_paths().map_err(|e| failed("sslrootcert=system", &e))?,
        Roots::File(file) => {
            // Read by hand first: OpenSSL does not say that a file is not there.
            std::fs::metadata(file).map_err(|e| failed(&format!("sslrootcert {}", file.display()), &e))?;
            builder.set_ca_file(file).map_err(|e| failed(&format!("sslrootcert {}", file.display()), &e))?;
        }
    }
    if let Some(lists) = &ssl.revoked {
        let name = lists.display();
        let store = builder.cert_store_mut();
        let lookup = store.add_lookup(X509Lookup::file()).map_err(|e| failed("OpenSSL", &e))?;
        lookup.load_crl_file(lists, SslFiletype::PEM).map_err(|e| failed(&format!("sslcrl {name}"), &e))?;
        let flags = X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL;
        store.set_flags(flags).map_err(|e| failed(&format!("sslcrl {name}"), &e))?;
    }
    if let (Some(certificate), Some(key)) = (&ssl.certificate, &ssl.key) {
        show(&mut builder, certificate, key, ssl.key_password.as_deref())?;
    }
    Ok(builder.build())
}

/// Has us show a certificate.
fn show(builder: &mut SslContextBuilder, certificate: &Path, key: &Path, password: Option<&str>) -> Result<(), String> {
    let certificate_name = certificate.display();
    let key_name = key.display();
    std::fs::metadata(certificate).map_err(|e| format!("sslcert {certificate_name}: {e}"))?;
    builder.set_certificate_chain_file(certificate).map_err(|e| format!("sslcert {certificate_name}: {e}"))?;
    let metadata = std::fs::metadata(key).map_err(|e| format!("sslkey {key_name}: {e}"))?;
    // As libpq: a key of root's may be read by a group, as files of secrets are mounted.
    let may = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.permissions().mode() & may != 0 {
        return Err(format!(
            "sslkey {key_name}: group or others have access to it; its mode must be 0600 or less (0640 if root owns it)"
        ));
    }
    let key = private_key(key, password).map_err(|e| format!("sslkey {key_name}: {e}"))?;
    builder.set_private_key(&key).map_err(|e| format!("sslkey {key_name}: {e}"))?;
    builder.check_private_key().map_err(|_| format!("sslkey {key_name} is not the key of sslcert {certificate_name}"))
}

/// A key in PEM or DER, PKCS#8 or not, with or without a password.
fn private_key(file: &Path, password: Option<&str>) -> Result<PKey<Private>, std::io::Error> {
    let bytes = std::fs::read(file)?;
    let told = |buffer: &mut [u8]| {
        let password = password.unwrap_or_default().as_bytes();
        let length = password.len().min(buffer.len());
        buffer[..length].copy_from_slice(&password[..length]);
        Ok(length)
    };
    let wrong = match password {
        Some(_) => "no private key, or sslpassword is not its password",
        None => "no private key, or one that needs a password (sslpassword)",
    };
    PKey::private_key_from_pem_callback(&bytes, told)
        .or_else(|_| PKey::private_key_from_der(&bytes))
        .map_err(|_| std::io::Error::new(ErrorKind::InvalidData, wrong))
}

fn names(certificate: &X509Ref) -> Names {
    let mut names = Names::default();
    for name in certificate.subject_alt_names().into_iter().flatten() {
        names.dns.extend(name.dnsname().map(str::to_owned));
        names.addresses.extend(name.ipaddress().map(<[u8]>::to_vec));
    }
    let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next();
    names.common = common.and_then(|name| name.data().to_string().ok());
    names
}
