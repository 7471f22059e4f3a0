//! Connection to Kafka: flags of every command that connects to it.
//!
//! A secret has no flag of its own, since every user of a machine can read the command lines of its
//! processes: it comes from a file, which a flag may name, or from a variable. The variables of the
//! security flags are read where they are laid over the file, together with those of the secrets.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Heading of the flags in `--help`.
const SECURITY: &str = "Kafka security";

/// Where Kafka is.
#[derive(Args, Clone, Debug)]
pub struct KafkaArgs {
    /// Bootstrap servers, separated by commas [default: the file's, else localhost:9092]
    #[arg(long, value_name = "H:P", env = "HELIXSTREAM_BOOTSTRAP_SERVERS")]
    pub bootstrap_servers: Option<String>,
    /// A setting of librdkafka, such as compression.type=lz4. Repeatable. Settings that would break
    /// exactly-once processing are refused. HELIXSTREAM_X holds several, separated by `;` or new
    /// lines; HELIXSTREAM_X_FILE names a file of them, one a line. Passwords do not belong on a
    /// command line, where other users of the machine can read them: use
    /// HELIXSTREAM_KAFKA_PASSWORD_FILE.
    #[arg(short = 'X', value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub client: Vec<String>,
    /// Encryption and authentication.
    #[command(flatten)]
    pub security: KafkaSecurityArgs,
}

/// Encryption and authentication.
#[derive(Args, Clone, Debug, Default)]
pub struct KafkaSecurityArgs {
    /// Whether connections are encrypted (ssl) and authenticated by SASL [default: the file's, else
    /// plaintext] [variable: HELIXSTREAM_KAFKA_SECURITY]
    #[arg(long, value_name = "HOW", help_heading = SECURITY, value_parser = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"])]
    pub kafka_security: Option<String>,
    /// Mechanism of SASL [variable: HELIXSTREAM_KAFKA_MECHANISM]
    #[arg(long, value_name = "NAME", help_heading = SECURITY, value_parser = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])]
    pub kafka_mechanism: Option<String>,
    /// User of PLAIN and SCRAM [variable: HELIXSTREAM_KAFKA_USER]
    #[arg(long, value_name = "NAME", help_heading = SECURITY)]
    pub kafka_user: Option<String>,
    /// File that holds the password of PLAIN and SCRAM [variable: HELIXSTREAM_KAFKA_PASSWORD_FILE;
    /// the password itself: HELIXSTREAM_KAFKA_PASSWORD]
    #[arg(long, value_name = "FILE", help_heading = SECURITY)]
    pub kafka_password_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that sign the brokers' certificates [default: the
    /// system's] [variable: HELIXSTREAM_KAFKA_CA_FILE]
    #[arg(long, value_name = "FILE", help_heading = SECURITY)]
    pub kafka_ca_file: Option<PathBuf>,
    /// Our certificate (PEM), where brokers ask for one [variable:
    /// HELIXSTREAM_KAFKA_CERTIFICATE_FILE]
    #[arg(long, value_name = "FILE", help_heading = SECURITY)]
    pub kafka_certificate_file: Option<PathBuf>,
    /// Its private key (PEM) [variable: HELIXSTREAM_KAFKA_KEY_FILE]
    #[arg(long, value_name = "FILE", help_heading = SECURITY)]
    pub kafka_key_file: Option<PathBuf>,
    /// File that holds the private key's password [variable: HELIXSTREAM_KAFKA_KEY_PASSWORD_FILE;
    /// the password itself: HELIXSTREAM_KAFKA_KEY_PASSWORD]
    #[arg(long, value_name = "FILE", help_heading = SECURITY)]
    pub kafka_key_password_file: Option<PathBuf>,
    /// OAUTHBEARER: token endpoint [variable: HELIXSTREAM_KAFKA_OAUTH_TOKEN_ENDPOINT_URL]
    #[arg(long, value_name = "URL", help_heading = SECURITY)]
    pub kafka_oauth_token_endpoint_url: Option<String>,
    /// OAUTHBEARER: our id at the token endpoint [variable: HELIXSTREAM_KAFKA_OAUTH_CLIENT_ID]
    #[arg(long, value_name = "ID", help_heading = SECURITY)]
    pub kafka_oauth_client_id: Option<String>,
    /// OAUTHBEARER: file that holds our secret [variable:
    /// HELIXSTREAM_KAFKA_OAUTH_CLIENT_SECRET_FILE; the secret itself:
    /// HELIXSTREAM_KAFKA_OAUTH_CLIENT_SECRET]
    #[arg(long, value_name = "FILE", help_heading = SECURITY)]
    pub kafka_oauth_client_secret_file: Option<PathBuf>,
    /// OAUTHBEARER: the scope that is requested [variable: HELIXSTREAM_KAFKA_OAUTH_SCOPE]
    #[arg(long, value_name = "SCOPE", help_heading = SECURITY)]
    pub kafka_oauth_scope: Option<String>,
    /// OAUTHBEARER: certificates (PEM) of the authorities that sign the token endpoint's [default:
    /// the system's] [variable: HELIXSTREAM_KAFKA_OAUTH_CA_FILE]
    #[arg(long, value_name = "FILE", help_heading = SECURITY)]
    pub kafka_oauth_ca_file: Option<PathBuf>,
}

impl KafkaSecurityArgs {
    /// The value of each flag that is present, by the flag's name without `--kafka-`, with `_` in
    /// the place of `-`.
    pub fn given(&self) -> Vec<(&'static str, OsString)> {
        let text = |value: &Option<String>| value.as_ref().map(OsString::from);
        let path = |value: &Option<PathBuf>| value.as_ref().map(|path| path.as_os_str().to_owned());
        let all = [
            ("security", text(&self.kafka_security)),
            ("mechanism", text(&self.kafka_mechanism)),
            ("user", text(&self.kafka_user)),
            ("password_file", path(&self.kafka_password_file)),
            ("ca_file", path(&self.kafka_ca_file)),
            ("certificate_file", path(&self.kafka_certificate_file)),
            ("key_file", path(&self.kafka_key_file)),
            ("key_password_file", path(&self.kafka_key_password_file)),
            ("oauth_token_endpoint_url", text(&self.kafka_oauth_token_endpoint_url)),
            ("oauth_client_id", text(&self.kafka_oauth_client_id)),
            ("oauth_client_secret_file", path(&self.kafka_oauth_client_secret_file)),
            ("oauth_scope", text(&self.kafka_oauth_scope)),
            ("oauth_ca_file", path(&self.kafka_oauth_ca_file)),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}
