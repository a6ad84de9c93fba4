-- Shared by the scripts after which webhooks have something to be told of a room: has it wait for
-- them. A room that waits already costs one call each; its mark stays.
-- hooks = { names = with spaces between them, or '': none, marks = key, queues = keys in their order,
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
