//! What turns the one table of packets into types and code.

/// Declares [`crate::Packet`] from a table of lines
/// `code Name kind [=> Answer] ignore|execute "directions" { argument: Type, … };`.
macro_rules! packets {
    ($($code:literal $name:ident $kind:ident $(=> $answer:ident)? $ignore:ident $direction:literal
       { $($arg:ident : $type:ty),* $(,)? };)*) => {
        /// A packet: one variant for each of the 111 classes of the protocol, whose fields are
        /// the arguments in the order of the wire (spec protocol.md 11 and 12, where each is
        /// described).
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[allow(missing_docs)] // each field is named and described by spec protocol.md 12
        pub enum Packet {
            $($name { $($arg: $type),* },)*
        }

        impl Packet {
            /// Its code on the wire.
            #[must_use]
            pub const fn code(&self) -> u16 {
                match self { $(Self::$name { .. } => $code,)* }
            }

            /// Its name in the protocol.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)* }
            }

            /// What kind of packet it is.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$name { .. } => packets!(@kind $kind $($answer)?),)* }
            }

            /// Whether it is to be ignored when the connection it came by is closed
            /// (spec protocol.md 8.3).
            #[must_use]
            pub const fn ignored_when_closed(&self) -> bool {
                match self { $(Self::$name { .. } => packets!(@ignore $ignore),)* }
            }

            /// Appends the array of arguments.
            pub(crate) fn encode_arguments(&self, out: &mut BytesMut) {
                match self {
                    $(Self::$name { $($arg),* } => {
                        write_array_header(out, packets!(@count $($arg)*));
                        $(Codec::encode($arg, out);)*
                    })*
                }
            }

            /// Reads the array of arguments of the packet with this code.
            pub(crate) fn decode_arguments(
                code: u64,
                reader: &mut Reader<'_>,
            ) -> Result<Self, DecodeError> {
                match code {
                    $($code => {
                        reader.array_of(packets!(@count $($arg)*))?;
                        Ok(Self::$name { $($arg: Codec::decode(reader)?),* })
                    })*
                    _ => Err(DecodeError::Code(code)),
                }
            }

            /// The whole table, as data.
            #[must_use]
            pub fn schemas() -> Vec<PacketSchema> {
                vec![$(PacketSchema {
                    name: stringify!($name),
                    code: $code,
                    kind: packets!(@kind $kind $($answer)?),
                    ignored_when_closed: packets!(@ignore $ignore),
                    directions: $direction,
                    arguments: vec![$(ArgumentSchema {
                        name: stringify!($arg),
                        notation: {
                            let mut notation = String::new();
                            <$type as Codec>::notation(&mut notation);
                            notation
                        },
                    }),*],
                }),*]
            }
        }

        /// Codes by name.
        #[allow(non_upper_case_globals)] // the names of the protocol
        pub mod code {
            $(#[doc = concat!("Code of ", stringify!($name), ".")]
              pub const $name: u16 = $code;)*
        }
    };

    (@kind request $answer:ident) => { Kind::Request { answer: code::$answer } };
    (@kind answer) => { Kind::Answer };
    (@kind notification) => { Kind::Notification };
    (@kind error) => { Kind::Error };
    (@ignore ignore) => { true };
    (@ignore execute) => { false };
    (@count) => { 0 };
    (@count $head:ident $($tail:ident)*) => { 1 + packets!(@count $($tail)*) };
}

/// Declares a struct that travels as an array of its fields.
macro_rules! wire_struct {
    ($(#[$doc:meta])* $name:ident $(as $notation:literal)? {
        $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }

        impl Codec for $name {
            fn notation(out: &mut String) {
                wire_struct!(@notation out, [$($notation)?], $($type),*);
            }
            fn encode(&self, out: &mut BytesMut) {
                write_array_header(out, [$(stringify!($field)),*].len());
                $(self.$field.encode(out);)*
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array_of([$(stringify!($field)),*].len())?;
                Ok(Self { $($field: Codec::decode(reader)?),* })
            }
        }
    };
    (@notation $out:ident, [$notation:literal], $($type:ty),*) => { $out.push_str($notation) };
    (@notation $out:ident, [], $first:ty $(, $type:ty)*) => {
        $out.push('(');
        <$first as Codec>::notation($out);
        $( $out.push_str(", "); <$type as Codec>::notation($out); )*
        $out.push(')');
    };
}

pub(crate) use {packets, wire_struct};
