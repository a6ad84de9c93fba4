-- Shared by the scripts that change a room's presence: stores joins and leaves for the webhooks
-- that want them. They are numbered without gaps; each has the offset of the event before it.
local function attend(hooks, meta, attendance, room, most, joined, left)
  if #hooks.names == 0 then
    return
  end
  local time = redis.call('TIME')
  local ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
  local epoch, top = unpack(redis.call('HMGET', meta, 'epoch', 'top'))
  local count = #joined + #left
  local step = redis.call('HINCRBY', meta, 'attended', count) - count
  top = top or '0'
  note(hooks, meta, room, top, string.format('%.0f', step), ms)
  local function add(kind, user)
    step = step + 1
    local entry = { 'XADD', attendance, 'MAXLEN', '~', most, string.format('%.0f-0', step),
      'o', top, 'e', epoch or '', 't', ms, 'k', kind, 'u', user }
    local added = redis.pcall(unpack(entry))
    if type(added) == 'table' and added.err then
      -- An older entry than the last: the room's numbering was forgotten, and begins again.
      redis.call('UNLINK', attendance)
      redis.call(unpack(entry))
    end
  end
  for _, user in ipairs(left) do
    add('left', user)
  end
  for _, user in ipairs(joined) do
    add('joined', user)
  end
  redis.call('EXPIRE', attendance, hooks.life)
end
