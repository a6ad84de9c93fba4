-- Shared by the scripts below: where a room's stream stands, begun if it has none, or if it ends
-- below what was seen in its own life: Redis came back with less than it had.
-- A new life starts above everything known, so that offsets never go back, and without what an
-- older life left behind.
local function begin(meta, stream, nonces, older, epoch, seen, ttl, seen_epoch)
  local known = redis.call('HMGET', meta, 'epoch', 'top', 'generation', 'last')
  if known[1] and not (known[1] == seen_epoch and tonumber(known[2]) < tonumber(seen)) then
    return known[1], tonumber(known[2]), tonumber(known[3]), known[4] or '-'
  end
  local top = tonumber(seen)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if last then
    top = math.max(top, tonumber(string.match(last[1], '^%d+')))
  end
  -- A room with members has no time to live, and keeps none.
  local kept = redis.call('TTL', meta) == -1
  redis.call('UNLINK', stream, nonces, older)
  redis.call('HSET', meta, 'epoch', epoch, 'top', string.format('%.0f', top), 'generation', 0)
  redis.call('HDEL', meta, 'last')
  if not kept then
    redis.call('EXPIRE', meta, ttl)
  end
  return epoch, top, 0, '-'
end
