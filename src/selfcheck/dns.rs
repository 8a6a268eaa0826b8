//! `dns.works`: does a DNS server answer?

use super::{Area, Check, Found, Inputs, Running};
use crate::dns::{Absence, Answer};

pub(super) struct Works;

impl Check for Works {
    fn id(&self) -> &'static str {
        "dns.works"
    }

    fn area(&self) -> Area {
        Area::Dns
    }

    fn question(&self) -> &'static str {
        "Do the DNS servers answer the box?"
    }

    fn why(&self) -> &'static str {
        "The DNS says where mail goes. Without it nothing can be sent, and most checks cannot tell \
         anything."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(async move {
            let mut reasons = Vec::new();
            let names = inputs.site.domains.iter().chain([&inputs.site.hostname]);
            for name in names {
                // A certain no is an answer too.
                match inputs.resolver.addresses(name).await {
                    Answer::Yes(_) | Answer::No(Absence::NoRecord) => {
                        return Found::ok().saw(format!("a DNS server answered for {name}"));
                    }
                    Answer::No(Absence::NoName) => {
                        return Found::ok()
                            .saw(format!("a DNS server answered that {name} does not exist"));
                    }
                    Answer::CouldNotTell(why) => reasons.push(why),
                }
            }
            let mut found = Found::unknown("no DNS server answered").saw_all(reasons);
            "Check that the router is connected to the internet. If it is, set other DNS servers."
                .clone_into(&mut found.fix);
            found
        })
    }
}
