-- Shared by the scripts that store something for webhooks: makes a room wait for the webhooks. For
-- a room that waits already this costs one call per webhook; its mark stays.
-- hooks = { names = list of names (empty: none), marks = key, queues = keys in the names' order,
--           life = of both, s }
local function note(hooks, meta, room, offset, step, ms)
  for i, name in ipairs(hooks.names) do
    if redis.call('ZADD', hooks.queues[i], 'NX', ms, room) == 1 then
      step = step or redis.call('HGET', meta, 'attended') or '0'
      redis.call('HSETNX', hooks.marks, name, offset .. '-' .. step)
      redis.call('EXPIRE', hooks.marks, hooks.life)
      redis.call('EXPIRE', hooks.queues[i], hooks.life)
    end
  end
end

local function hooks_of(names, first_key, marks, life)
  local hooks = { names = {}, queues = {}, marks = marks, life = life }
  for name in string.gmatch(names, '%S+') do
    hooks.names[#hooks.names + 1] = name
    hooks.queues[#hooks.names] = KEYS[first_key + #hooks.names - 1]
  end
  return hooks
end
