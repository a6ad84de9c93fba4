// The SDK as a package: packed, installed from the tarball without a network, typed, imported.

import assert from "node:assert/strict";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

import { Hubbub, Room } from "../../static/sdk/hubbub.js";
import { DENO, TOP, bin, readTop, run } from "./kit.js";

const SDK = path.join(TOP, "static/sdk");
const QUIET = ["--offline", "--no-audit", "--no-fund", "--ignore-scripts"];

/** A folder with the package installed in it. */
async function install(t) {
  const folder = await mkdtemp(path.join(tmpdir(), "hubbub-package-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await run(t, "npm", ["pack", SDK, "--pack-destination", folder]);
  const [tarball] = await readdir(folder);
  await writeFile(path.join(folder, "package.json"), '{"type":"module","private":true}');
  await run(t, "npm", ["install", ...QUIET, "--prefix", folder, path.join(folder, tarball)]);
  return { folder, tarball, installed: path.join(folder, "node_modules/hubbub") };
}

test("the tarball installs offline, has all that it needs and no more, and is imported by name", async (t) => {
  const { folder, tarball, installed } = await install(t);
  const version = /^version = "(.*)"/m.exec(await readTop("Cargo.toml"))[1];
  assert.equal(tarball, `hubbub-${version}.tgz`, "the version of the program");
  const files = await readdir(installed);
  const scripts = (await readdir(SDK)).filter((file) => file.endsWith(".js"));
  const others = ["LICENSE", "README.md", "hubbub.d.ts", "package.json"];
  assert.deepEqual(files.sort(), [...others, ...scripts].sort());
  const script = path.join(folder, "use.js");
  await writeFile(script, 'import * as sdk from "hubbub"; console.log(Object.keys(sdk).sort().join());');
  assert.equal((await run(t, process.execPath, [script])).trim(), "Hubbub,HubbubError,Room,fold,newGuest,newNonce");
});

test("its types hold for a strict application, and a wrong one is refused", async (t) => {
  const { folder } = await install(t);
  await cp(path.join(TOP, "tests/sdk/types"), folder, { recursive: true });
  await run(t, bin("tsc"), ["--project", folder]);
  await writeFile(path.join(folder, "consumer.ts"), 'import { Hubbub } from "hubbub"; new Hubbub({ token: 1 });');
  await assert.rejects(run(t, bin("tsc"), ["--project", folder]), /TS2322/);
});

test("Deno finds the types of the module itself", async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), "hubbub-deno-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const script = path.join(folder, "use.ts");
  const check = async (urls) => {
    await writeFile(script, `import { Hubbub } from "${SDK}/hubbub.js"; new Hubbub({ urls: ${urls} });`);
    await run(t, DENO, ["check", script], { DENO_DIR: folder, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" });
  };
  await check('["http://127.0.0.1:3000"]');
  await assert.rejects(check(1), /TS2322/);
});

test("the types name all that there is", async () => {
  const types = await readTop("static/sdk/hubbub.d.ts");
  const inner = new Set(["constructor", "dispatch", "ready", "goOnline", "goDown", "end", "take"]);
  for (const it of [Hubbub, Room]) {
    const members = Object.getOwnPropertyNames(it.prototype).filter((name) => !inner.has(name));
    assert.ok(members.length > 5);
    for (const name of members) assert.match(types, new RegExp(`^  (readonly )?${name}[(:?<]`, "m"), name);
  }
});
