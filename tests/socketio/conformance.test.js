// The protocols by hand, over both transports, against the conformance example: what the reference
// server does, measured, is what this one has to do.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { WebSocket } from "ws";
import { Poller, Talker, client, next, sleep, startConformance, until } from "./kit.js";

let url;
let example;
const ended = [];
before(async () => ({ url, example } = await startConformance({ after: (end) => ended.push(end) })));
after(async () => {
  const alive = example.alive;
  for (const end of ended) await end();
  assert.ok(alive, `the example must not have ended: ${example.output}`);
});

const at = (query, path = "/engine.io/") => `${url}${path}?${query}`;
const refusal = async (response) => {
  assert.equal(response.status, 400);
  return (await response.json()).code;
};

describe("engine.io", () => {
  test("a handshake by polling", async () => {
    const response = await fetch(at("EIO=4&transport=polling"));
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type").toLowerCase(), "text/plain; charset=utf-8");
    assert.equal(response.headers.get("cache-control"), "no-store");
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    const text = await response.text();
    assert.equal(text[0], "0");
    const greeting = JSON.parse(text.slice(1));
    assert.deepEqual(Object.keys(greeting).sort(), ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]);
    assert.deepEqual(greeting.upgrades, ["websocket"]);
    assert.deepEqual([greeting.pingInterval, greeting.pingTimeout, greeting.maxPayload], [300, 200, 1_000_000]);
  });

  test("a handshake by websocket", async () => {
    const talker = await Talker.open(url, "/engine.io/");
    const greeting = JSON.parse((await talker.next()).slice(1));
    assert.deepEqual(greeting.upgrades, []);
    assert.equal(typeof greeting.sid, "string");
    talker.socket.close();
  });

  test("each refusal has its code", async () => {
    for (const [code, query, method] of [
      [0, "EIO=4&transport=abc"],
      [0, "EIO=4"],
      [1, "EIO=4&transport=polling&sid=zzz"],
      [1, "EIO=4&transport=polling&sid=__proto__"],
      [1, "EIO=4&transport=polling&sid="],
      [2, "EIO=4&transport=polling", "POST"],
      [2, "EIO=4&transport=polling", "PUT"],
      [3, "EIO=4&transport=websocket"],
      [5, "EIO=3&transport=polling"],
      [5, "EIO=abc&transport=polling"],
      [5, "transport=polling"],
    ]) {
      assert.equal(await refusal(await fetch(at(query), { method })), code, `${method} ${query}`);
    }
    for (const query of ["EIO=3", "EIO=4&sid=zzz"]) {
      const socket = new WebSocket(at(`${query}&transport=websocket`).replace("http", "ws"));
      const [error] = await next(socket, "error");
      assert.match(error.message, /400/);
    }
    assert.equal((await fetch(at("EIO=4&transport=polling"), { method: "OPTIONS" })).status, 204);
  });

  test("polling echoes text and binary", async () => {
    const poller = await Poller.open(url, "/engine.io/");
    const posted = await poller.post("4hello");
    assert.equal(posted.status, 200);
    assert.equal(await posted.text(), "ok");
    assert.equal(await poller.text(), "4hello");
    await poller.post("4a\x1e4ä€\x1ebAQIDBA==");
    assert.equal(await poller.text(), "4a\x1e4ä€\x1ebAQIDBA==");
    await poller.post("1");
  });

  test("an answer has at most 16 packets: python-engineio takes no more", async () => {
    const poller = await Poller.open(url, "/engine.io/");
    const all = Array.from({ length: 40 }, (_, i) => `4${i}`);
    await poller.post(all.join("\x1e"));
    const heard = [];
    while (heard.length < all.length) {
      const packets = (await poller.text()).split("\x1e");
      assert.ok(packets.length <= 16, `${packets.length}`);
      heard.push(...packets.filter((packet) => packet !== "2"));
    }
    assert.deepEqual(heard, all);
    await poller.post("1");
  });

  test("websocket echoes text and binary", async () => {
    const talker = await Talker.open(url, "/engine.io/");
    await talker.next();
    talker.send("4hello");
    assert.equal(await talker.next(), "4hello");
    talker.send(Buffer.from([1, 2, 3]));
    assert.deepEqual(await talker.next(), Buffer.from([1, 2, 3]));
    talker.socket.close();
  });

  test("the server pings after one interval, and a silent client is gone", async () => {
    const began = Date.now();
    const poller = await Poller.open(url, "/engine.io/");
    for (let i = 0; i < 3; i++) {
      assert.equal(await poller.text(), "2");
      if (i === 0) assert.ok(Date.now() - began >= 290, "not at once");
      await poller.post("3");
    }
    await sleep(1_000);
    assert.equal(await refusal(await poller.get()), 1);

    for (let i = 0; i < 5; i++) {
      const silent = await Poller.open(url, "/engine.io/");
      const { pingInterval, pingTimeout } = silent.greeting;
      const opened = performance.now();
      while (performance.now() - opened < pingInterval + pingTimeout) await sleep(1);
      assert.equal(await refusal(await silent.get()), 1, "gone when its time is over, not later");
    }

    const talker = await Talker.open(url, "/engine.io/");
    await talker.next();
    for (let i = 0; i < 3; i++) {
      assert.equal(await talker.next(), "2");
      talker.send("3");
    }
    assert.equal(await talker.next(), "2");
    await talker.end();
  });

  test("two polls, or two posts, at once end the session", async () => {
    let poller = await Poller.open(url, "/engine.io/");
    const first = poller.get();
    await sleep(20);
    assert.equal((await poller.get()).status, 400);
    assert.equal(await (await first).text(), "1");
    assert.equal(await refusal(await poller.get()), 1);

    poller = await Poller.open(url, "/engine.io/");
    let finish;
    const slow = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("4slow"));
        finish = () => controller.close();
      },
    });
    const waiting = poller.get();
    const pending = poller.post(slow, { duplex: "half" });
    await sleep(50);
    assert.equal((await poller.post("4second")).status, 400);
    assert.equal(await (await waiting).text(), "1");
    finish();
    assert.equal((await pending).status, 400);
    assert.equal((await poller.get()).status, 400);
  });

  test("a client that goes, or breaks its poll off, is gone at once", async () => {
    let poller = await Poller.open(url, "/engine.io/");
    const waiting = poller.get();
    await sleep(20);
    assert.equal((await poller.post("1")).status, 200);
    assert.equal(await (await waiting).text(), "6");
    assert.equal((await poller.get()).status, 400);

    poller = await Poller.open(url, "/engine.io/");
    const aborter = new AbortController();
    const aborted = poller.get({ signal: aborter.signal });
    await sleep(20);
    aborter.abort();
    await assert.rejects(aborted);
    await until("the session is gone", async () => (await poller.post("4x")).status === 400, 250);
  });

  test("what is no payload, or too large, is refused", async () => {
    for (const bad of ["abc", "", "7", "2", "b!", "4a\x1e"]) {
      const poller = await Poller.open(url, "/engine.io/");
      assert.equal((await poller.post(bad)).status, 400, bad);
      assert.equal(await refusal(await poller.get()), 1, bad);
    }
    const poller = await Poller.open(url, "/engine.io/");
    assert.equal((await poller.post(Buffer.from([0x34, 0xff]))).status, 400, "no utf-8");
    const large = await Poller.open(url, "/engine.io/");
    assert.equal((await large.post(`4${"x".repeat(1_000_000)}`)).status, 413);
    const fits = await Poller.open(url, "/engine.io/");
    assert.equal((await fits.post(`4${"x".repeat(999_999)}`)).status, 200);
    assert.equal((await fits.text()).length, 1_000_000);

    const talker = await Talker.open(url, "/engine.io/");
    await talker.next();
    talker.send(`4${"x".repeat(1_000_000)}`);
    assert.equal(await talker.end(), 1009);
    const unreadable = await Talker.open(url, "/engine.io/");
    await unreadable.next();
    unreadable.send("abc");
    await unreadable.end();
  });

  test("an upgrade keeps the order and ends the polling", async () => {
    const poller = await Poller.open(url, "/engine.io/");
    const waiting = poller.get();
    const talker = await Talker.open(url, "/engine.io/", `&sid=${poller.sid}`);
    talker.send("2probe");
    assert.equal(await talker.next(), "3probe");
    assert.equal(await (await waiting).text(), "6");
    await poller.post("4one\x1e4two");
    assert.equal(await poller.text(), "6", "nothing is given out any more");
    assert.deepEqual(talker.heard, []);
    talker.send("5");
    talker.send("4three");
    assert.equal(await talker.next(), "4one");
    assert.equal(await talker.next(), "4two");
    assert.equal(await talker.next(), "4three");
    assert.equal(await refusal(await poller.get()), 3);
    assert.equal((await poller.post("4x")).status, 400);
    const second = new Talker(url, "/engine.io/", `&sid=${poller.sid}`);
    await second.end();
    talker.send("4four");
    await until("the echo", () => talker.heard.includes("4four"));
    talker.socket.close();
  });

  test("a probe that leads to nothing leaves the polling alive", async () => {
    for (const word of ["4x", "2", "5", null]) {
      const poller = await Poller.open(url, "/engine.io/");
      const talker = await Talker.open(url, "/engine.io/", `&sid=${poller.sid}`);
      if (word) talker.send(word);
      else talker.socket.terminate();
      await talker.end();
      await poller.post("4x");
      assert.equal(await poller.text(), "4x", `${word}`);
      await poller.post("1");
    }
  });
});

describe("socket.io", () => {
  const open = async (...packets) => {
    const talker = await Talker.open(url);
    await talker.next();
    for (const packet of packets) talker.send(packet);
    return talker;
  };
  /** The next packet that is no ping. */
  const packet = async (talker) => {
    for (;;) {
      const data = await talker.next();
      if (data !== "2") return data;
      talker.send("3");
    }
  };
  const inside = async (namespace = "") => {
    const talker = await open(`40${namespace}`);
    assert.match(await packet(talker), /^40/);
    assert.match(await packet(talker), /^42.*\["auth",\{\}\]$/);
    return talker;
  };

  test("namespaces are entered, refused and left", async () => {
    const talker = await open('40{"token":"123"}');
    const greeting = await packet(talker);
    assert.equal(typeof JSON.parse(greeting.slice(2)).sid, "string");
    assert.equal(await packet(talker), '42["auth",{"token":"123"}]');
    talker.send("40/custom,");
    assert.match(await packet(talker), /^40\/custom,\{"sid":/);
    assert.equal(await packet(talker), '42/custom,["auth",{}]');
    talker.send("40/random");
    assert.equal(await packet(talker), '44/random,{"message":"Invalid namespace"}');
    talker.send("41/custom");
    talker.send('42["message","still here"]');
    assert.equal(await packet(talker), '42["message-back","still here"]');
    talker.send("41");
    await sleep(100);
    assert.equal(talker.closed, null, "the connection stays");
    talker.socket.close();
  });

  test("who enters no namespace in time is closed", async () => {
    const talker = await open();
    const began = Date.now();
    while (talker.closed === null && Date.now() - began < 4_000) {
      if (talker.heard.shift() === "2") talker.send("3");
      await sleep(5);
    }
    assert.notEqual(talker.closed, null);
    assert.ok(Date.now() - began >= 900);
  });

  test("events, acks and binary come back", async () => {
    const talker = await inside();
    talker.send('42["message",1,"2",{"3":["4",null,true]}]');
    assert.equal(await packet(talker), '42["message-back",1,"2",{"3":["4",null,true]}]');
    talker.send('42456["message-with-ack",1,"2",{"3":[false]}]');
    assert.equal(await packet(talker), '43456[1,"2",{"3":[false]}]');
    const placeholder = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
    talker.send(`452-["message",${placeholder}]`);
    talker.send(Buffer.from([1, 2, 3]));
    talker.send(Buffer.from([4, 5, 6]));
    assert.equal(await packet(talker), `452-["message-back",${placeholder}]`);
    assert.deepEqual(await packet(talker), Buffer.from([1, 2, 3]));
    assert.deepEqual(await packet(talker), Buffer.from([4, 5, 6]));
    talker.send(`452-789["message-with-ack",${placeholder}]`);
    talker.send(Buffer.from([1]));
    talker.send(Buffer.from([2]));
    assert.equal(await packet(talker), `462-789[${placeholder}]`);
    assert.deepEqual([await packet(talker), await packet(talker)], [Buffer.from([1]), Buffer.from([2])]);
    talker.socket.close();
  });

  test("what breaks the protocol ends the connection", async () => {
    const placeholder = (num) => `451-["message",{"_placeholder":true,"num":${num}}]`;
    for (const bad of [
      "4abc", "49", '42{}', "42", "42[]", "42[null]", '42abc["message-with-ack",1]', '42["connect"]',
      '42["disconnecting"]', '42/custom,["message"]', "41/custom", "40", '44{"message":"x"}',
      '4599999-["message"]', '4511-["message"]', placeholder(-1), placeholder('"x"'), placeholder(9),
      `40/${"n".repeat(10_240)}`, '42["message"', `42["message",${"[".repeat(5_000)}`,
    ]) {
      const talker = await inside();
      talker.send(bad);
      assert.notEqual(await talker.end(250), null, bad);
    }
    for (const [announced, then] of [
      ['42["message"]', Buffer.from([1])],
      ['451-["message",{"_placeholder":true,"num":0}]', '42["message"]'],
    ]) {
      const talker = await inside();
      talker.send(announced);
      talker.send(then);
      await talker.end(250);
    }
  });

  test("the real client, each way", async (t) => {
    for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
      const socket = client(t, url, { transports, auth: { name: "ann" } });
      const [auth] = await next(socket, "auth");
      assert.deepEqual(auth, { name: "ann" });
      const many = Array.from({ length: 500 }, (_, i) => i);
      const back = [];
      socket.on("message-back", (n) => back.push(n));
      for (const n of many) socket.emit("message", n);
      await until("all are back", () => back.length === many.length);
      assert.deepEqual(back, many);
      const bytes = await socket.timeout(5_000).emitWithAck("message-with-ack", Buffer.from([7]));
      assert.deepEqual(Buffer.from(bytes), Buffer.from([7]));
      if (transports.length === 2) {
        await until("upgraded", () => socket.io.engine.transport.name === "websocket");
      }
      socket.disconnect();
    }
    const nobody = io(`${url}/random`, { forceNew: true });
    t.after(() => nobody.disconnect());
    assert.equal((await next(nobody, "connect_error"))[0].message, "Invalid namespace");
  });
});

test("/echo says what it hears", async () => {
  const socket = new WebSocket(`${url.replace("http", "ws")}/echo`);
  await next(socket, "open");
  socket.send("text");
  assert.equal(`${(await next(socket, "message"))[0]}`, "text");
  socket.send(Buffer.alloc(200_000, 7));
  assert.deepEqual((await next(socket, "message"))[0], Buffer.alloc(200_000, 7));
  socket.close(1000);
  await next(socket, "close");
});
