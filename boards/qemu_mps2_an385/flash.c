// The module `mps2`: its Flash, the board's 16 MB of PSRAM playing NOR flash (the emulator keeps it in a file).
//
// Rule: as NOR is: an erase sets a block to ones, programming only clears bits; each byte is as it was or as it is to be whenever the power
// goes. Must not know: what lies in it.

#include <string.h>

#include "board.h"
#include "extmod/vfs.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/runtime.h"

#define BLOCK_BYTES (4096)

typedef struct {
    mp_obj_base_t base;
    uint32_t start;
    uint32_t length;
    uint32_t erases;
} flash_obj_t;

// Flash(*, start=0, len=the rest): a part of it, in bytes, of whole blocks.
static mp_obj_t flash_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *all_args) {
    enum { ARG_start, ARG_len };
    static const mp_arg_t allowed[] = {
        { MP_QSTR_start, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0} },
        { MP_QSTR_len, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = -1} },
    };
    mp_arg_val_t args[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all_kw_array(n_args, n_kw, all_args, MP_ARRAY_SIZE(allowed), allowed, args);
    mp_int_t start = args[ARG_start].u_int, length = args[ARG_len].u_int;
    if (length == -1) {
        length = FLASH_BYTES - start;
    }
    if (start < 0 || start % BLOCK_BYTES || length <= 0 || length % BLOCK_BYTES || start + length > FLASH_BYTES) {
        mp_raise_ValueError(MP_ERROR_TEXT("start and len: whole blocks of 4096 bytes within 16 MB"));
    }
    flash_obj_t *self = mp_obj_malloc(flash_obj_t, type);
    self->start = start;
    self->length = length;
    self->erases = 0;
    return MP_OBJ_FROM_PTR(self);
}

// Where a call begins. Raises OSError(EINVAL) where it would go beyond the end.
static uint8_t *place(flash_obj_t *self, size_t n_args, const mp_obj_t *args, size_t n) {
    mp_int_t block = mp_obj_get_int(args[1]), offset = n_args == 4 ? mp_obj_get_int(args[3]) : 0;
    if (block < 0 || offset < 0 || (uint64_t)block * BLOCK_BYTES + offset + n > self->length) {
        mp_raise_OSError(MP_EINVAL);
    }
    return FLASH_BASE + self->start + block * BLOCK_BYTES + offset;
}

static mp_obj_t flash_readblocks(size_t n_args, const mp_obj_t *args) {
    flash_obj_t *self = MP_OBJ_TO_PTR(args[0]);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(args[2], &buf, MP_BUFFER_WRITE);
    memcpy(buf.buf, place(self, n_args, args, buf.len), buf.len);
    return MP_OBJ_NEW_SMALL_INT(0);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_readblocks_obj, 3, 4, flash_readblocks);

// Without an offset the blocks are erased first.
static mp_obj_t flash_writeblocks(size_t n_args, const mp_obj_t *args) {
    flash_obj_t *self = MP_OBJ_TO_PTR(args[0]);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(args[2], &buf, MP_BUFFER_READ);
    uint8_t *at = place(self, n_args, args, buf.len);
    if (n_args == 3) {
        self->erases += buf.len / BLOCK_BYTES;
        memset(at, 0xFF, buf.len);
    }
    const uint8_t *from = buf.buf;
    for (size_t i = 0; i < buf.len; i++) {
        at[i] &= from[i];
    }
    return MP_OBJ_NEW_SMALL_INT(0);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_writeblocks_obj, 3, 4, flash_writeblocks);

static mp_obj_t flash_ioctl(mp_obj_t self_in, mp_obj_t request, mp_obj_t arg) {
    flash_obj_t *self = MP_OBJ_TO_PTR(self_in);
    switch (mp_obj_get_int(request)) {
        case MP_BLOCKDEV_IOCTL_INIT:
        case MP_BLOCKDEV_IOCTL_DEINIT:
        case MP_BLOCKDEV_IOCTL_SYNC:
            return MP_OBJ_NEW_SMALL_INT(0);
        case MP_BLOCKDEV_IOCTL_BLOCK_COUNT:
            return MP_OBJ_NEW_SMALL_INT(self->length / BLOCK_BYTES);
        case MP_BLOCKDEV_IOCTL_BLOCK_SIZE:
            return MP_OBJ_NEW_SMALL_INT(BLOCK_BYTES);
        case MP_BLOCKDEV_IOCTL_BLOCK_ERASE: {
            const mp_obj_t args[] = { self_in, arg };
            self->erases += 1;
            memset(place(self, 2, args, BLOCK_BYTES), 0xFF, BLOCK_BYTES);
            return MP_OBJ_NEW_SMALL_INT(0);
        }
        default:
            return mp_const_none;
    }
}
static MP_DEFINE_CONST_FUN_OBJ_3(flash_ioctl_obj, flash_ioctl);

// How many blocks were erased through this object.
static mp_obj_t flash_erases(mp_obj_t self_in) {
    flash_obj_t *self = MP_OBJ_TO_PTR(self_in);
    return mp_obj_new_int_from_uint(self->erases);
}
static MP_DEFINE_CONST_FUN_OBJ_1(flash_erases_obj, flash_erases);

static const mp_rom_map_elem_t flash_locals_table[] = {
    { MP_ROM_QSTR(MP_QSTR_readblocks), MP_ROM_PTR(&flash_readblocks_obj) },
    { MP_ROM_QSTR(MP_QSTR_writeblocks), MP_ROM_PTR(&flash_writeblocks_obj) },
    { MP_ROM_QSTR(MP_QSTR_ioctl), MP_ROM_PTR(&flash_ioctl_obj) },
    { MP_ROM_QSTR(MP_QSTR_erases), MP_ROM_PTR(&flash_erases_obj) },
};
static MP_DEFINE_CONST_DICT(flash_locals, flash_locals_table);

static MP_DEFINE_CONST_OBJ_TYPE(flash_type, MP_QSTR_Flash, MP_TYPE_FLAG_NONE, make_new, flash_make_new, locals_dict, &flash_locals);

static const mp_rom_map_elem_t mps2_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_mps2) },
    { MP_ROM_QSTR(MP_QSTR_Flash), MP_ROM_PTR(&flash_type) },
};
static MP_DEFINE_CONST_DICT(mps2_globals, mps2_globals_table);

const mp_obj_module_t mps2_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&mps2_globals,
};
MP_REGISTER_MODULE(MP_QSTR_mps2, mps2_module);
