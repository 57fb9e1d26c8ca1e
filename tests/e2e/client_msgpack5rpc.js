// tests/e2e/client_msgpack5rpc.js - drives kvd with npm's msgpack5rpc.
//
//     NODE_PATH=build/tools/npm/node_modules node client_msgpack5rpc.js PORT
'use strict'
const net = require('net')
const Session = require('msgpack5rpc')

const socket = net.connect(Number(process.argv[2]), '127.0.0.1')
const session = new Session()
session.attach(socket, socket)
setTimeout(() => { console.log('not ok npm msgpack5rpc: in time'); process.exit(1) }, 20000).unref()

const call = (method, ...params) => new Promise((resolve, reject) =>
  session.request(method, params, (error, result) => error ? reject(error) : resolve(result)))

async function run (name, test) {
  try {
    await test()
    console.log('ok npm msgpack5rpc: ' + name)
  } catch (e) {
    console.log(String(e && e.stack ? e.stack : e))
    console.log('not ok npm msgpack5rpc: ' + name)
  }
}

function demand (condition, text) {
  if (!condition) throw new Error(text)
}

async function main () {
  await run('str keys', async () => {
    await call('kv.put', 'node-str', 'text')
    const got = await call('kv.get', 'node-str')
    demand(got.found === true && String(got.value) === 'text', JSON.stringify(got))
  })
  await run('bin keys', async () => {
    const key = Buffer.from([0, 1, 254, 255])
    await call('kv.put', key, Buffer.from([7, 8, 9]))
    const got = await call('kv.get', key)
    demand(Buffer.compare(Buffer.from(got.value), Buffer.from([7, 8, 9])) === 0, JSON.stringify(got))
  })
  await run('pipelined, and an error', async () => {
    const all = []
    for (let i = 0; i < 100; i++) all.push(call('kv.put', 'node' + i, String(i)))
    await Promise.all(all)
    const back = await Promise.all(all.map((_, i) => call('kv.get', 'node' + i)))
    back.forEach((r, i) => demand(String(r.value) === String(i), 'node' + i))
    let failed = null
    try { await call('kv.nothing') } catch (e) { failed = e }
    demand(/BAD_REQUEST/.test(String(failed && failed.message ? failed.message : failed)), String(failed))
  })
  process.exit(0)
}
main()
