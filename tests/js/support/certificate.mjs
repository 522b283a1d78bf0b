// A certificate authority and a server's certificate, made anew: nothing that expires and no private key in the repository.
import { generateKeyPairSync, sign } from "node:crypto";

function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const SEQUENCE = 0x30;
const sequence = (...parts) => der(SEQUENCE, ...parts);
const integer = (value) => der(0x02, Buffer.from([value]));
const octets = (...parts) => der(0x04, ...parts);
const oid = (...bytes) => der(0x06, Buffer.from(bytes));
const TRUE = der(0x01, Buffer.from([0xff]));

const ECDSA_WITH_SHA256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
const COMMON_NAME = oid(0x55, 0x04, 0x03);
const BASIC_CONSTRAINTS = oid(0x55, 0x1d, 0x13);
const ALTERNATIVE_NAMES = oid(0x55, 0x1d, 0x11);
const VALIDITY = sequence(der(0x17, Buffer.from("200101000000Z")), der(0x17, Buffer.from("490101000000Z")));

const nameOf = (text) => sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(text)))));
const keyPair = () => generateKeyPairSync("ec", { namedCurve: "P-256" });

function certificate(serial, issuer, issuerKey, subject, publicKey, extension) {
  const content = sequence(
    der(0xa0, integer(2)),
    integer(serial),
    ECDSA_WITH_SHA256,
    nameOf(issuer),
    VALIDITY,
    nameOf(subject),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(extension)),
  );
  const signature = der(0x03, Buffer.from([0]), sign("sha256", content, issuerKey));
  const lines = sequence(content, ECDSA_WITH_SHA256, signature).toString("base64").match(/.{1,64}/g);
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}

/** Of an authority that nobody trusts yet, for a server at 127.0.0.1. */
export function certificates() {
  const [authority, server] = [keyPair(), keyPair()];
  const isAuthority = sequence(BASIC_CONSTRAINTS, TRUE, octets(sequence(TRUE)));
  const addresses = sequence(ALTERNATIVE_NAMES, octets(sequence(der(0x87, Buffer.from([127, 0, 0, 1])))));
  return {
    ca: certificate(1, "An authority", authority.privateKey, "An authority", authority.publicKey, isAuthority),
    cert: certificate(2, "An authority", authority.privateKey, "A server", server.publicKey, addresses),
    key: server.privateKey.export({ type: "pkcs8", format: "pem" }),
  };
}
